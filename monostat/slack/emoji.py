"""Emoji as characters: Slack has names for them."""

import re

#: The names of those that people use in such messages; Slack's blocks name the characters.
CHARACTERS = {
    "+1": "👍",
    "thumbsup": "👍",
    "-1": "👎",
    "thumbsdown": "👎",
    "tada": "🎉",
    "wave": "👋",
    "white_check_mark": "✅",
    "heavy_check_mark": "✔️",
    "x": "❌",
    "warning": "⚠️",
    "fire": "🔥",
    "rotating_light": "🚨",
    "wrench": "🔧",
    "hammer": "🔨",
    "hammer_and_wrench": "🛠️",
    "bug": "🐛",
    "eyes": "👀",
    "pray": "🙏",
    "clap": "👏",
    "raised_hands": "🙌",
    "muscle": "💪",
    "rocket": "🚀",
    "smile": "😄",
    "slightly_smiling_face": "🙂",
    "grinning": "😀",
    "disappointed": "😞",
    "sweat_smile": "😅",
    "wink": "😉",
    "cry": "😢",
    "thinking_face": "🤔",
    "heart": "❤️",
    "red_circle": "🔴",
    "large_green_circle": "🟢",
    "large_yellow_circle": "🟡",
    "bulb": "💡",
    "large_orange_circle": "🟠",
    "hourglass": "⌛",
    "hourglass_flowing_sand": "⏳",
    "clock": "🕰️",
    "information_source": "ℹ️",
    "email": "✉️",
    "envelope": "✉️",
    "lock": "🔒",
    "construction": "🚧",
    "zap": "⚡",
    "sparkles": "✨",
    "100": "💯",
    "ok": "🆗",
    "ok_hand": "👌",
    "point_right": "👉",
    "arrow_right": "➡️",
    "arrow_up": "⬆️",
    "arrow_down": "⬇️",
    "no_entry": "⛔",
    "question": "❓",
    "exclamation": "❗",
    "heavy_exclamation_mark": "❗",
    "calendar": "📆",
    "mega": "📣",
}
NAME = re.compile(r"(?<![\w:]):(\+1|-1|100|[a-z][a-z0-9_+'-]*):(?::skin-tone-[2-6]:)?(?![\w:])")


def character(name: str, code_points: str) -> str:
    """An emoji by its code points, joined by "-", else by its name; nothing of a custom one."""
    try:
        found = "".join(chr(int(point, 16)) for point in code_points.split("-") if point)
    except (ValueError, OverflowError):
        found = ""
    return found or CHARACTERS.get(name, "")


def in_characters(text: str) -> str:
    """A text in which emoji are names, as typed: known ones become characters, others go."""
    return NAME.sub(lambda name: CHARACTERS.get(name[1], ""), text)
