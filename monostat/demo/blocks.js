// Renders Slack's mrkdwn and Block Kit as nodes; nothing that came from outside is ever read as HTML.

export const names = {}; // of users, by id

export function el(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  for (const [name, value] of Object.entries(props.attrs || {})) node.setAttribute(name, value);
  node.append(...children.flat().filter((child) => child !== undefined && child !== ""));
  return node;
}

export function tap(words, act, props = {}) {
  const button = el("button", { type: "button", ...props }, words);
  button.onclick = async () => {
    if (button.ariaBusy === "true") return;
    button.ariaBusy = "true";
    await act();
    button.ariaBusy = "false";
  };
  return button;
}

// -- mrkdwn: https://docs.slack.dev/messaging/formatting-message-text

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&amp;": "&" };
const plain = (text) => text.replace(/&(lt|gt|amp);/g, (entity) => ENTITIES[entity]);
export const EMOJI = { warning: "⚠️", rotating_light: "🚨", white_check_mark: "✅", x: "❌", wrench: "🔧", eyes: "👀",
  bell: "🔔", email: "📧", hourglass_flowing_sand: "⏳", information_source: "ℹ️", bug: "🐛", construction: "🚧" };
const MARKS = new RegExp([
  /<!date\^(?<date>\d+)\^(?<form>[^|^>]+)(?:\^(?<to>[^|>]+))?\|[^>]*>/,
  /<(?<href>(?:https?|mailto):[^|>]+)(?:\|(?<label>[^>]*))?>/, /<@(?<user>\w+)(?:\|[^>]*)?>/,
  /<!(?<all>here|channel|everyone)(?:\|[^>]*)?>/, /<#\w+(?:\|(?<room>[^>]*))?>/, /```\n?(?<pre>[^]+?)```/,
  /`(?<code>[^`\n]+)`/, /(?<![\w*])\*(?<b>\S|\S[^*\n]*\S)\*(?![\w*])/, /(?<![\w_])_(?<i>\S|\S[^_\n]*\S)_(?![\w_])/,
  /(?<![\w~])~(?<s>\S|\S[^~\n]*\S)~(?![\w~])/, /^&gt; ?(?<quote>.*)\n?/, /:(?<emoji>[a-z0-9_+-]+):/,
].map((mark) => mark.source).join("|"), "gm");

function dated({ date, form, to }) {
  const at = new Date(date * 1000), day = (style) => at.toLocaleDateString([], { dateStyle: style });
  const minutes = Math.round((at - Date.now()) / 60000), isToday = at.toDateString() === new Date().toDateString();
  const time = (style) => at.toLocaleTimeString([], { timeStyle: style });
  const ways = { date_num: at.toLocaleDateString("sv"), date: day("long"), date_long: day("full"),
    date_short: day("medium"), time: time("short"), time_secs: time("medium"),
    ago: new Intl.RelativeTimeFormat([], { numeric: "auto" }).format(minutes, "minute") };
  const words = plain(form).replace(/\{(\w+?)(_pretty)?\}/g,
    (whole, name, pretty) => (pretty && isToday ? "today" : ways[name] ?? whole));
  return el(to ? "a" : "time", to ? { href: plain(to), target: "_blank" } : { dateTime: at.toISOString() }, words);
}

export function mrkdwn(text) {
  const out = [];
  let end = 0;
  for (const found of text.matchAll(MARKS)) {
    const { href, label, user, all, room, pre, code, quote, emoji, ...mark } = found.groups;
    out.push(plain(text.slice(end, found.index)));
    end = found.index + found[0].length;
    const [tag] = ["b", "i", "s"].filter((name) => mark[name] !== undefined);
    if (mark.date) out.push(dated(mark));
    else if (href) out.push(el("a", { href: plain(href), target: "_blank", rel: "noreferrer" }, plain(label || href)));
    else if (user) out.push(el("span", { className: "mention" }, "@" + (names[user] || user)));
    else if (all) out.push(el("span", { className: "mention loud" }, "@" + all));
    else if (room) out.push(el("span", { className: "mention" }, "#" + plain(room)));
    else if (pre !== undefined) out.push(el("pre", {}, plain(pre)));
    else if (code !== undefined) out.push(el("code", {}, plain(code)));
    else if (quote !== undefined) out.push(el("blockquote", {}, mrkdwn(quote)));
    else if (emoji) out.push(EMOJI[emoji] || found[0]);
    else if (tag) out.push(el(tag, {}, mrkdwn(mark[tag])));
  }
  return [...out, plain(text.slice(end))];
}

// -- Block Kit: a new kind of block or element is a row here; `use(element, chosen)` says that a person used one

const words = (text) => (text.type === "mrkdwn" ? mrkdwn(text.text) : text.text);
const option = (each) => el("option", { value: each.value }, plain(each.text.text));

function menu(element, use) {
  const hint = el("option", { value: "", selected: true }, element.placeholder?.text || "More…");
  const select = el("select", { attrs: { "aria-label": hint.text, "data-action": element.action_id } }, hint,
    element.options?.map(option), element.option_groups?.map((group) =>
      el("optgroup", { label: group.label.text }, group.options.map(option))));
  select.value = element.initial_option?.value || "";
  select.onchange = () => select.value && use(element, select.value).then(() => { select.value = ""; });
  return select;
}

const ELEMENTS = {
  button: (element, use) => tap(element.text.text, async () => {
    const ask = element.confirm;
    if (ask && !confirm(`${ask.title.text}\n\n${plain(ask.text.text)}`)) return;
    if (element.url) open(element.url, "_blank", "noreferrer");
    await use(element);
  }, { className: element.style || "", attrs: { "data-action": element.action_id } }),
  static_select: menu, overflow: menu,
  image: (element) => el("span", { className: "quiet" }, `[${element.alt_text}]`),
  mrkdwn: (text) => el("span", {}, words(text)), plain_text: (text) => el("span", {}, words(text)),
};
const draw = (table, part, use) => (table[part.type] || (() => el("i", {}, `[${part.type}]`)))(part, use);
const element = (part, use) => draw(ELEMENTS, part, use);
const BLOCKS = {
  section: (block, use) => el("div", { className: "section" },
    el("div", {}, block.text ? el("p", {}, words(block.text)) : "",
      block.fields ? el("div", { className: "fields" }, block.fields.map((text) => el("p", {}, words(text)))) : ""),
    block.accessory ? element(block.accessory, use) : ""),
  context: (block, use) => el("p", { className: "context" }, block.elements.map((each) => element(each, use))),
  header: (block) => el("h3", {}, words(block.text)),
  divider: () => el("hr"),
  actions: (block, use) => el("div", { className: "actions" }, block.elements.map((each) => element(each, use))),
};
export const blocks = (list, use) => list.map((block) => draw(BLOCKS, block, use));
