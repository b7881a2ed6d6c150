// Draws the newest picture from /live; every row is redrawn only when it changed, so that focus and scroll stay.

import { EMOJI, blocks, el, mrkdwn, names, tap } from "./blocks.js";

const $ = (id) => document.getElementById(id);
const warnings = new Map(), dismissed = new Set(), folded = new Set();
let now, answering = "", me = localStorage.getItem("me") || "U_ADA";

async function post(verb, body) {
  try {
    const answer = await fetch("/" + verb,
      { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    return answer.ok ? (await answer.json()).warning : "The demo refused this: " + await answer.text();
  } catch {
    return "The demo does not answer: is it still running?";
  }
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
  const row = (one, reply) => ({ key: reply + one.ts, kind: "message", reply, warning: warnings.get(one.ts), ...one });
  return all.sort((a, b) => a.ts - b.ts).filter((one) => !one.thread_ts || one.subtype).flatMap((top) => {
    const replies = all.filter((one) => one.thread_ts === top.ts), open = !folded.has(top.ts);
    const thread = { key: "thread" + top.ts, kind: "thread", ts: top.ts, count: replies.length, open };
    return [row(top, ""), ...(top.mine ? [] : [thread]), ...(open ? replies.map((one) => row(one, "reply")) : [])];
  });
}

function feedRow(row) {
  if (row.kind === "thread") {
    const many = `${row.open ? "▾" : "▸"} ${row.count} ${row.count === 1 ? "reply" : "replies"}`;
    const fold = () => { folded[row.open ? "add" : "delete"](row.ts); draw(); };
    return el("div", { className: "thread" },
      row.count ? tap(many, fold, { className: "link", attrs: { "data-action": "fold" } }) : "",
      tap("Reply", () => answer(row.ts), { className: "link", attrs: { "data-action": "reply" } }));
  }
  const name = now.users[row.user]?.name || row.user, at = new Date(row.ts * 1000);
  const use = async (used, chosen) => {
    warnings.set(row.ts, await post("press", { user: me, ts: row.ts, action_id: used.action_id, chosen }));
    draw();
  };
  const dismiss = tap("Dismiss", () => { dismissed.add(row.ts); draw(); }, { className: "link" });
  return el("article", { className: `message ${row.reply} ${row.mine ? "mine" : ""}` },
    el("div", { className: "avatar", ariaHidden: "true", attrs: { "data-who": row.user } }, name[0].toUpperCase()),
    el("div", { className: "body" },
      row.mine ? el("p", { className: "only" }, "Only you can see this ", dismiss) : "",
      el("p", { className: "who" }, el("b", {}, name), row.bot_id ? el("span", { className: "badge" }, "APP") : "",
        el("time", { dateTime: at.toISOString(), title: at.toLocaleString() }, at.toLocaleTimeString()),
        row.edited && !row.bot_id ? el("small", {}, "(edited)") : ""),
      row.blocks ? blocks(row.blocks, use) : el("p", {}, mrkdwn(row.text)),
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
  radio.onchange = () => { localStorage.setItem("me", me = id); draw(); };
  return el("label", {}, radio, name, " ", el("small", {}, kind));
}

function draw() {
  const feed = $("feed"), below = feed.scrollHeight - feed.scrollTop - feed.clientHeight;
  const people = Object.values(now.users), room = "#" + now.channel.name;
  people.forEach((user) => { names[user.id] = user.name; });
  const here = (id) => now.channel.members.includes(id), count = (rows) => (rows.length ? rows.length : "");
  $("channel").textContent = room;
  $("app").replaceChildren(...(now.connected ? ["● ", el("span", {}, "monostat "), "connected"]
    : ["○ ", el("span", {}, "monostat "), "not connected"]));
  $("site").href = now.site;
  $("outside").hidden = here(me);
  $("outside").textContent = `${names[me]} is not in ${room} and would not see this; taps are sent anyway.`;
  $("composer").text.placeholder = answering ? "Reply; @monostat publishes" : `Message ${room} as ${names[me]}`;
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
  if (below < 80) feed.scrollTop = feed.scrollHeight;
}

function answer(ts) {
  const asked = now.messages.find((one) => one.ts === ts);
  answering = asked ? ts : "";
  $("answering").hidden = !asked;
  $("answering").firstChild.textContent = asked ? `In the thread of “${asked.text.slice(0, 60)}”` : "";
  draw();
  if (asked) $("composer").text.focus();
}

$("answering").lastElementChild.onclick = () => answer("");
$("composer").onsubmit = async (event) => {
  event.preventDefault();
  const { text } = event.target, signs = { "&": "&amp;", "<": "&lt;", ">": "&gt;" };
  const escaped = text.value.replace(/[&<>]/g, (sign) => signs[sign]).replace(/@(monostat|status)\b/gi, "<@UBOT>");
  text.value = "";
  await post("say", { user: me, text: escaped, thread_ts: answering || null });
};
$("fire").onsubmit = async (event) => {
  event.preventDefault();
  const { message, priority } = event.target;
  await post("fire", { message: message.value, alias: message.value, priority: priority.value });
};
$("tabs").onclick = ({ target }) => {
  const { tab } = target.closest("button").dataset;
  document.body.dataset.tab = tab;
  for (const button of $("tabs").children) button.ariaPressed = button.dataset.tab === tab;
};

function listen() {
  const live = new WebSocket(`ws://${location.host}/live`);
  live.onmessage = ({ data }) => { now = JSON.parse(data); $("gone").hidden = true; draw(); };
  live.onclose = () => { $("gone").hidden = false; setTimeout(listen, 1000); };
}
listen();
