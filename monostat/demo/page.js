// Draws the newest picture from /live; every row is redrawn only when it changed, so that focus and scroll stay.

import { EMOJI, blocks, el, mrkdwn, names, plain, rooms, tap } from "./blocks.js";
import { showModal } from "./modal.js";

const $ = (id) => document.getElementById(id);
const warnings = new Map(), dismissed = new Set(), folded = new Set(), answering = new Set();
// By their callback_id, as the app's manifest has them.
const SHORTCUTS = { new_incident: "New incident" }, MESSAGE_SHORTCUTS = { to_update: "Publish to status page" };
let now, editing = "", me = localStorage.getItem("me") || "U_ADA";

async function post(verb, body) {
  try {
    const answer = await fetch("/" + verb,
      { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    return answer.ok ? (await answer.json()).warning : "The demo refused this: " + await answer.text();
  } catch {
    return "The demo does not answer: is it still running?";
  }
}

async function act(key, verb, body) {
  warnings.set(key, await post(verb, { user: me, ...body }));
  draw();
}

// -- what people write, as Slack delivers it: escaped, links in brackets, and ids in place of names

function delivered(text) {
  const signs = { "&": "&amp;", "<": "&lt;", ">": "&gt;" }, ids = { status: "UBOT" };
  for (const [id, name] of Object.entries(names)) ids[name.toLowerCase()] = id;
  return text.replace(/[&<>]/g, (sign) => signs[sign]).replace(/https?:\/\/\S*[^\s.,;:!?)]/g, "<$&>")
    .replace(/(?<!\w)@(\w+)/g, (whole, name) => (ids[name.toLowerCase()] ? `<@${ids[name.toLowerCase()]}>` : whole));
}
const typed = (text) => plain(text.replace(/<@(\w+)>/g, (whole, id) => `@${names[id] || id}`)
  .replace(/<(https?:[^>]+)>/g, "$1"));

function box(words, label, verb, send, more = "") {
  const text = el("textarea", { value: words, required: true, rows: 1, ariaLabel: label, placeholder: label,
    attrs: { "data-action": label } });
  const form = el("form", { className: "say" }, text, el("button", { className: "primary" }, verb), more);
  form.onsubmit = async (event) => {
    event.preventDefault();
    const said = text.value;
    text.value = "";
    await send(said);
  };
  return form;
}

// -- rows: keyed, kept while their data stays the same

function sync(parent, rows, make) {
  const old = new Map([...parent.children].map((node) => [node.key, node])), first = !parent.drawn;
  parent.drawn = true;
  rows.forEach((row, index) => {
    const print = JSON.stringify(row);
    let node = old.get(row.key);
    if (node?.print !== print) {
      const focused = node?.contains(document.activeElement) && document.activeElement.dataset.action;
      const fresh = Object.assign(make(row, node), { key: row.key, print });
      if (!first) fresh.classList.add("fresh");
      node?.replaceWith(fresh);
      if (focused) fresh.querySelector(`[data-action="${CSS.escape(focused)}"]`)?.focus();
      node = fresh;
    }
    old.delete(row.key);
    if (parent.children[index] !== node) parent.insertBefore(node, parent.children[index] || null);
  });
  old.forEach((node) => node.remove());
}

function feedRows() {
  const mine = now.ephemerals.filter((one) => one.user === me && !dismissed.has(one.ts));
  const all = [...now.messages, ...mine.map((one) => ({ ...one, user: "UBOT", bot_id: "B1", mine: true }))];
  const row = (one, reply) => ({ key: reply + one.ts, kind: "message", reply, warning: warnings.get(one.ts),
    mayEdit: one.user === me, editing: one.user === me && editing === one.ts, ...one });
  return all.sort((a, b) => a.ts - b.ts).filter((one) => !one.thread_ts || one.subtype).flatMap((top) => {
    const replies = all.filter((one) => one.thread_ts === top.ts), open = !folded.has(top.ts);
    const thread = { key: "thread" + top.ts, kind: "thread", ts: top.ts, count: replies.length, open };
    const answer = { key: "answer" + top.ts, kind: "answer", ts: top.ts, told: warnings.get("answer" + top.ts) };
    return [row(top, ""), ...(top.mine ? [] : [thread]), ...(open ? replies.map((one) => row(one, "reply")) : []),
      ...(open && answering.has(top.ts) ? [answer] : [])];
  });
}

function answerRow({ ts, told }) {
  const send = async (text) => {
    if (!text.startsWith("/")) return act("answer" + ts, "say", { text: delivered(text), thread_ts: ts });
    warnings.set("answer" + ts, "Slack takes no commands in threads");
    return draw();
  };
  return el("div", { className: "thread" }, box("", "Reply; @Status publishes", "Send", send),
    told ? el("p", { className: "warning", role: "alert" }, "⚠ " + told) : "");
}

function menuOf(row) {
  if (row.mine) return "";
  const names = Object.entries(MESSAGE_SHORTCUTS);
  const intoSight = ({ target }) => target.lastChild.scrollIntoView({ block: "nearest" });
  return el("details", { className: "more", ontoggle: intoSight }, el("summary", { ariaLabel: "More actions" }, "⋯"), el("div", {},
    names.map(([id, words]) => tap(words, () => act(row.ts, "message_shortcut", { callback_id: id, ts: row.ts }))),
    row.mayEdit ? tap("Edit message", () => { editing = row.ts; draw(); }) : "",
    tap("Delete message", () => act(row.ts, "delete", { ts: row.ts }))));
}

function textOf(row) {
  if (!row.editing) return el("p", {}, mrkdwn(row.text));
  const done = () => { editing = ""; draw(); };
  const save = (text) => { done(); return act(row.ts, "edit", { ts: row.ts, text: delivered(text) }); };
  return box(typed(row.text), "Edit message", "Save", save, tap("Cancel", done));
}

function feedRow(row) {
  if (row.kind === "answer") return answerRow(row);
  if (row.kind === "thread") {
    const many = `${row.open ? "▾" : "▸"} ${row.count} ${row.count === 1 ? "reply" : "replies"}`;
    const fold = () => { folded[row.open ? "add" : "delete"](row.ts); draw(); };
    return el("div", { className: "thread" },
      row.count ? tap(many, fold, { className: "link", attrs: { "data-action": "fold" } }) : "",
      tap("Reply", () => answer(row.ts), { className: "link", attrs: { "data-action": "reply" } }));
  }
  const name = now.users[row.user]?.name || row.user, at = new Date(row.ts * 1000);
  const use = ({ action_id }, chosen) => act(row.ts, "press", { ts: row.ts, action_id, chosen });
  const dismiss = tap("Dismiss", () => { dismissed.add(row.ts); draw(); }, { className: "link" });
  return el("article", { className: `message ${row.reply} ${row.mine ? "mine" : ""}` },
    el("div", { className: "avatar", ariaHidden: "true", attrs: { "data-who": row.user } }, name[0].toUpperCase()),
    el("div", { className: "body" },
      row.mine ? el("p", { className: "only" }, "Only you can see this ", dismiss) : "",
      el("p", { className: "who" }, el("b", {}, name), row.bot_id ? el("span", { className: "badge" }, "APP") : "",
        el("time", { dateTime: at.toISOString(), title: at.toLocaleString() }, at.toLocaleTimeString()),
        row.edited && !row.bot_id ? el("small", {}, "(edited)") : "", menuOf(row)),
      row.blocks ? blocks(row.blocks, { use }) : textOf(row),
      row.warning ? el("p", { className: "warning", role: "alert" }, "⚠ " + row.warning) : "",
      row.reactions.length ? el("p", { className: "reactions" }, row.reactions.map((e) => EMOJI[e] || `:${e}:`)) : ""));
}

function alertRow({ id, message, priority, status, acknowledged, count }) {
  const state = status === "closed" ? "closed" : acknowledged ? "acknowledged" : "open";
  const act = (verb, words) => tap(words, () => post(verb, { alert: id }), { attrs: { "data-action": verb } });
  return el("article", { className: "card " + state }, el("p", {}, el("b", {}, priority), " ", message),
    el("p", { className: "quiet" }, state + (count > 1 ? ` · seen ${count} times` : "")),
    state === "closed" ? "" : el("div", { className: "actions" },
      state === "open" ? act("acknowledge", "Acknowledge") : "", act("close", "Close")));
}

function mailRow({ subject, text, html, from_name, from_email, status, title, created }, before) {
  // The frame has no scripts and no origin; its links open beside this page.
  const sandbox = "allow-popups allow-popups-to-escape-sandbox", at = new Date(created).toLocaleTimeString();
  return el("details", { className: "card", open: before?.open || false },
    el("summary", {}, el("b", {}, subject), el("span", { className: "quiet" }, ` ${at} · ${status}`)),
    el("p", { className: "quiet" }, `From ${from_name} <${from_email}> · ${title}`),
    el("iframe", { title: "HTML part", srcdoc: `<base target="_blank">${html}`, attrs: { sandbox } }),
    el("p", { className: "quiet" }, "Plain text"), el("pre", {}, text));
}

function recipientRow({ email, status }) {
  return el("article", { className: "card" }, el("p", {}, email, el("span", { className: "quiet" }, ` · ${status}`)),
    status === "new" ? tap("Tap the link in the opt-in mail", () => post("confirm", { address: email })) : "");
}

function dayRow({ vendor, day }) {
  return el("article", { className: "card day", role: "group", ariaLabel: vendor }, el("b", {}, vendor),
    [["fine", "Fine"], ["hangs", "Hangs"], ["503", "503"]].map(([name, words]) =>
      tap(words, () => post("day", { vendor, day: name }),
        { ariaPressed: name === day, attrs: { "data-action": name } })));
}

function personRow({ id, name, is_restricted, is_stranger, here, chosen }) {
  const kind = is_stranger ? "connected org" : is_restricted ? "guest" : here ? "" : "not in the channel";
  const radio = el("input", { type: "radio", name: "me", value: id, checked: chosen, attrs: { "data-action": id } });
  radio.onchange = () => { localStorage.setItem("me", me = id); draw(); goHome(); };
  return el("label", {}, radio, name, " ", el("small", {}, kind));
}

function homeRow(view) {
  const use = ({ action_id }, chosen) => act("home", "press_in_view", { view_id: view.id, action_id, chosen });
  return el("article", {}, blocks(view.blocks, { use }),
    view.warning ? el("p", { className: "warning", role: "alert" }, "⚠ " + view.warning) : "");
}

const goHome = () => document.body.dataset.tab === "home" && act("home", "open_home");

function draw() {
  const feed = $("feed"), below = feed.scrollHeight - feed.scrollTop - feed.clientHeight;
  const people = Object.values(now.users), room = "#" + now.channel.name;
  people.forEach((user) => { names[user.id] = user.name; });
  rooms[now.channel.id] = now.channel.name;
  const here = (id) => now.channel.members.includes(id), count = (rows) => (rows.length ? rows.length : "");
  $("channel").textContent = room;
  $("app").replaceChildren(...(now.connected ? ["● ", el("span", {}, "monostat "), "connected"]
    : ["○ ", el("span", {}, "monostat "), "not connected"]));
  $("site").href = now.site;
  $("outside").hidden = here(me);
  $("outside").textContent = `${names[me]} is not in ${room} and would not see this; taps are sent anyway.`;
  $("composer").text.placeholder = `${names[me]} says, or /statuspage`;
  $("composer").firstElementChild.textContent = warnings.get("channel") || "";
  $("open-alerts").textContent = count(now.alerts.filter((one) => one.status === "open"));
  $("mail-count").textContent = count(now.mails);
  $("bad-days").textContent = count(Object.values(now.days).filter((day) => day !== "fine"));
  sync($("people"), people.filter((user) => !user.is_bot)
    .map((user) => ({ key: user.id, here: here(user.id), chosen: user.id === me, ...user })), personRow);
  sync(feed, feedRows(), feedRow);
  sync($("alerts"), now.alerts.map((one) => ({ key: one.id, ...one })).reverse(), alertRow);
  sync($("mails"), now.mails.map((one) => ({ key: one.id, ...one })).reverse(), mailRow);
  sync($("recipients"), now.recipients.map((one) => ({ key: one.id, ...one })), recipientRow);
  sync($("days"), Object.entries(now.days).map(([vendor, day]) => ({ key: vendor, vendor, day })), dayRow);
  sync($("violations"), now.violations.map((words, key) => ({ key, words })), ({ words }) =>
    el("p", { className: "warning" }, "⚠ Slack refused: " + words));
  const home = now.homes[me];
  sync($("home"), home ? [{ key: home.id, warning: warnings.get("home"), ...home }] : [], homeRow);
  showModal(now.views.filter((view) => view.user === me).at(-1), post);
  if (below < 80) feed.scrollTop = feed.scrollHeight;
}

function answer(ts) {
  answering.add(ts);
  folded.delete(ts);
  draw();
  [...$("feed").children].find((node) => node.key === "answer" + ts).querySelector("textarea").focus();
}

$("shortcuts").append(...Object.entries(SHORTCUTS).map(([id, words]) =>
  tap(words, () => act("channel", "shortcut", { callback_id: id }))));
$("composer").onsubmit = async (event) => {
  event.preventDefault();
  const { text } = event.target, said = text.value, [command, ...words] = said.split(" ");
  text.value = "";
  if (said.startsWith("/")) await act("channel", "slash", { command, text: words.join(" ") });
  else await act("channel", "say", { text: delivered(said) });
};
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || !event.target.matches(".say textarea")) return;
  event.preventDefault();
  event.target.form.requestSubmit();
});
document.addEventListener("click", ({ target }) => {
  for (const menu of document.querySelectorAll("details.more[open]")) {
    if (!target.closest("summary") || !menu.contains(target)) menu.open = false;
  }
});
$("fire").onsubmit = async (event) => {
  event.preventDefault();
  const { message, priority } = event.target;
  await post("fire", { message: message.value, alias: message.value, priority: priority.value });
};
$("tabs").onclick = ({ target }) => {
  const tab = target.closest("button")?.dataset.tab;
  if (!tab) return;
  document.body.dataset.tab = tab;
  for (const button of $("tabs").children) button.ariaPressed = button.dataset.tab === tab;
  if (tab === "talk") $("feed").scrollTop = $("feed").scrollHeight; // a browser forgets it of what it hides
  goHome();
};

function listen() {
  const live = new WebSocket(`ws://${location.host}/live`);
  live.onmessage = ({ data }) => { now = JSON.parse(data); $("gone").hidden = true; draw(); };
  live.onclose = () => { $("gone").hidden = false; setTimeout(listen, 1000); };
}
listen();
