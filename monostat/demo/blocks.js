// Renders Slack's mrkdwn and Block Kit as nodes; nothing that came from outside is ever read as HTML.

export const names = {}; // of users, by id
export const rooms = {}; // names of channels, by id

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
export const plain = (text) => text.replace(/&(lt|gt|amp);/g, (entity) => ENTITIES[entity]);
export const EMOJI = { warning: "⚠️", rotating_light: "🚨", white_check_mark: "✅", envelope: "✉️", x: "❌", wrench: "🔧", eyes: "👀",
  bell: "🔔", email: "📧", hourglass_flowing_sand: "⏳", information_source: "ℹ️", bug: "🐛", construction: "🚧" };
const MARKS = new RegExp([
  /<!date\^(?<date>\d+)\^(?<form>[^|^>]+)(?:\^(?<to>[^|>]+))?\|[^>]*>/,
  /<(?<href>(?:https?|mailto):[^|>]+)(?:\|(?<label>[^>]*))?>/, /<@(?<user>\w+)(?:\|[^>]*)?>/,
  /<!(?<all>here|channel|everyone)(?:\|[^>]*)?>/, /<#(?<room>\w+)(?:\|[^>]*)?>/, /```\n?(?<pre>[^]+?)```/,
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
    else if (room) out.push(el("span", { className: "mention" }, "#" + (rooms[room] || room)));
    else if (pre !== undefined) out.push(el("pre", {}, plain(pre)));
    else if (code !== undefined) out.push(el("code", {}, plain(code)));
    else if (quote !== undefined) out.push(el("blockquote", {}, mrkdwn(quote)));
    else if (emoji) out.push(EMOJI[emoji] || found[0]);
    else if (tag) out.push(el(tag, {}, mrkdwn(mark[tag])));
  }
  return [...out, plain(text.slice(end))];
}

// -- Block Kit: a new kind of block or element is a row here. `use(element, chosen)` says that a person used one;
//    `values` is what the fields start from, by block and action_id, and `errors` what the app says about them.

const words = (text) => (text.type === "mrkdwn" ? mrkdwn(text.text) : text.text);
const option = (each) => el("option", { value: each.value }, plain(each.text.text));
const picked = (options) => options?.map((one) => one.value);
const initial = (element) => picked(element.initial_options) ?? element.initial_option?.value
  ?? element.initial_value ?? element.initial_date_time;
let named = 0;

function field(node, read, element, use) {
  node.read = read;
  node.onchange = () => use?.(element, read());
  return node;
}

function menu(element, use, start) {
  const hint = el("option", { value: "" }, element.placeholder?.text || "Choose…");
  const select = el("select", { attrs: { "aria-label": hint.text } }, hint, element.options.map(option));
  select.value = start ?? "";
  return field(select, () => select.value || null, element, use);
}

function overflow(element, use) {
  const select = menu({ ...element, placeholder: { text: "More…" } });
  select.onchange = () => select.value && use(element, select.value).then(() => { select.value = ""; });
  return select;
}

function boxes(type, element, use, start) {
  const name = `boxes${(named += 1)}`, on = [start].flat();
  const inputs = element.options.map(({ value }) => el("input", { type, name, value, checked: on.includes(value) }));
  const read = () => picked(inputs.filter((input) => input.checked));
  return field(el("div", { className: "boxes", role: type === "radio" ? "radiogroup" : "group" },
    element.options.map((one, index) => el("label", {}, inputs[index], el("span", {}, words(one.text),
      one.description ? el("small", {}, words(one.description)) : "")))),
  type === "radio" ? () => read()[0] ?? null : read, element, use);
}

function text(element, use, start) {
  const { multiline, placeholder, min_length: minLength = 0, max_length: maxLength = 3000 } = element;
  const node = el(multiline ? "textarea" : "input",
    { value: start ?? "", placeholder: placeholder?.text || "", minLength, maxLength, autocomplete: "off" });
  return field(node, () => node.value || null, element, use);
}

function moment(element, use, start) {
  const value = start ? new Date(start * 1000).toLocaleString("sv").replace(" ", "T").slice(0, 16) : "";
  const node = el("input", { type: "datetime-local", value });
  return field(node, () => (node.value ? new Date(node.value) / 1000 : null), element, use);
}

const ELEMENTS = {
  button: (element, use) => tap(element.text.text, async () => {
    const ask = element.confirm;
    if (ask && !confirm(`${ask.title.text}\n\n${plain(ask.text.text)}`)) return;
    if (element.url) open(element.url, "_blank", "noreferrer");
    await use(element);
  }, { className: element.style || "" }),
  static_select: menu, overflow, plain_text_input: text, datetimepicker: moment,
  radio_buttons: (...given) => boxes("radio", ...given), checkboxes: (...given) => boxes("checkbox", ...given),
  image: (element) => el("span", { className: "quiet" }, `[${element.alt_text}]`),
  mrkdwn: (text) => el("span", {}, words(text)), plain_text: (text) => el("span", {}, words(text)),
};
const draw = (table, part, ...given) => (table[part.type] || (() => el("i", {}, `[${part.type}]`)))(part, ...given);

function element(part, block, { use, values = {} }) {
  const node = draw(ELEMENTS, part, use, values[block.block_id]?.[part.action_id] ?? initial(part));
  if (part.action_id) Object.assign(node.dataset, { action: part.action_id, block: block.block_id });
  return node;
}

function input(block, given) {
  const node = element(block.element, block, { ...given, use: block.dispatch_action && given.use });
  const label = `label${(named += 1)}`, error = given.errors?.[block.block_id];
  node.id = `field${named}`;
  node.setAttribute("aria-labelledby", label);
  const asked = node.matches(".boxes") ? node.querySelectorAll("[type=radio]") : [node];
  asked.forEach((each) => { each.required = !block.optional; });
  if (error) node.ariaInvalid = "true";
  return el("div", { className: "input" },
    el("label", { id: label, htmlFor: node.id }, block.label.text, block.optional ? el("small", {}, " (optional)") : ""),
    node, error ? el("p", { className: "error", role: "alert" }, error) : "",
    block.hint ? el("p", { className: "quiet" }, block.hint.text) : "");
}

const BLOCKS = {
  section: (block, given) => el("div", { className: "section" },
    el("div", {}, block.text ? el("p", {}, words(block.text)) : "",
      block.fields ? el("div", { className: "fields" }, block.fields.map((text) => el("p", {}, words(text)))) : ""),
    block.accessory ? element(block.accessory, block, given) : ""),
  context: (block, given) => el("p", { className: "context" }, block.elements.map((each) => element(each, block, given))),
  header: (block) => el("h3", {}, words(block.text)),
  divider: () => el("hr"),
  actions: (block, given) => el("div", { className: "actions" },
    block.elements.map((each) => element(each, block, given))),
  input,
};
export const blocks = (list, given) => list.map((block) => draw(BLOCKS, block, given));

export function entered(form) {
  const values = {};
  for (const node of form.querySelectorAll("[data-block]")) {
    if (node.read) (values[node.dataset.block] ??= {})[node.dataset.action] = node.read();
  }
  return values;
}
