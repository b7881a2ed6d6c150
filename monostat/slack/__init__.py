"""Everything that staff see and do in Slack.

What they do comes in over `socket`, is heard by `listeners`, understood by `parsing`, and done by
`actions` where `staff` has them. What they say is heard by `mentions`, read by `rich_text`, told
apart by `commands`, and written by `mrkdwn` as readers see it. What they see is told by `outbox`:
the messages of incidents (`posts`), the lines of their threads (`log_queue`), the Home tabs
(`home_tabs`), one after another in each `lane`. `messages`, `text`, `emoji`, `fields`, `dialogs`
and `home` are pure: words and blocks. `client` calls Slack.

May import `core`, `config` and `vendor`; what it needs of the store and the engine are arguments.
"""
