// Keeps the page current: one socket, or polling where sockets do not pass. Without this script the page is complete, only not live.
const $ = id => document.getElementById(id);
const { page, build, incident, zone: siteZone } = document.documentElement.dataset;
let { epoch, version } = document.documentElement.dataset;
version = Number(version);
let blind = "blind" in document.documentElement.dataset; // monitoring does not answer
const main = $("main");
const jitter = ms => Math.random() * ms;
const sleep = ms => new Promise(done => setTimeout(done, ms));
const within = (tree, id) => tree.querySelector(`[id="${id}"]`);
const attempt = (risky, otherwise) => { try { return risky(); } catch { return otherwise; } };

// ---- words: the page brings its language's; a sentence with a number has a form for each kind of number
const words = JSON.parse($("words").textContent);
const plurals = attempt(() => new Intl.PluralRules(document.documentElement.lang), { select: () => "other" });
function say(entry, places = {}) {
  const sentence = typeof entry === "string" ? entry : entry[plurals.select(places.n)] ?? entry.other;
  return sentence.replace(/\{(\w+)\}/g, (_, name) => places[name]);
}

// ---- times: the reader's zone, in the forms in which the server writes its own (no live region holds one: its ticking is never read out)
const ownZone = attempt(() => Intl.DateTimeFormat().resolvedOptions().timeZone);
const ofZone = timeZone => new Intl.DateTimeFormat("en-GB", { timeZone, year: "numeric", month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const knowsOwn = Boolean(ownZone) && !ownZone.startsWith("Etc/Unknown");
const days = ["history", "day"].includes(page); // which are those of the site's zone, and so all times there
const zone = knowsOwn && !days ? ownZone : siteZone;
const numbers = attempt(() => ofZone(zone)) ?? ofZone("UTC");
// Twelve hours where the reader's own English has them.
const english = document.documentElement.lang === "en" && navigator.languages?.find(tag => /^en\b/i.test(tag));
const twelve = english && attempt(() => {
  const format = new Intl.DateTimeFormat(english, { timeZone: zone, hour: "numeric", minute: "2-digit" });
  return format.resolvedOptions().hour12 && format;
});
function split(date) {
  const found = {};
  for (const { type, value } of numbers.formatToParts(date)) found[type] = value;
  const midnight = Date.UTC(found.year, found.month - 1, found.day);
  return { ...found, days: midnight / 86400000, weekday: new Date(midnight).getUTCDay() };
}
function clock(date) {
  if (twelve) return twelve.format(date);
  const { hour, minute } = split(date);
  return `${hour}:${minute}`;
}
function dated(date, form = words.day) {
  const { weekday, day, month, year } = split(date);
  const name = say(form, { weekday: words.weekdays[(weekday + 6) % 7], day: Number(day), month: words.months[month - 1], year });
  return say(words.dated, { day: name, clock: clock(date) });
}
function written(date, form) {
  const then = split(date), now = split(new Date());
  if (form === "clock" || (!form && then.days === now.days)) return clock(date);
  return dated(date, then.year === now.year ? words.day : words.day_of_year);
}
function ago(date) {
  const size = Math.abs(date - Date.now()) / 1000;
  const tense = date > Date.now() ? "in" : "ago";
  if (size >= 172800) return say(words.relative[`${tense}_days`], { n: Math.abs(split(date).days - split(new Date()).days) });
  if (size >= 3600) return say(words.relative[`${tense}_hours`], { n: Math.floor(size / 3600) });
  if (size >= 60) return say(words.relative[`${tense}_minutes`], { n: Math.floor(size / 60) });
  return words.relative[`${tense}_a_moment`];
}
// Written only when it differs: writing would undo a selection.
function write(element, text) { if (element.textContent !== text) element.textContent = text; }
function localise(node) {
  for (const time of node.querySelectorAll("time[data-when]")) {
    const date = new Date(time.dateTime), full = dated(date, words.day_of_year);
    time.dataset.full = time.dataset.when === "clock" ? clock(date) : full; // for paper
    time.title = `${full} (${zone})`;
  }
  for (const place of node.querySelectorAll("[data-ago]")) place.append(Object.assign(document.createElement("span"), { className: "ago" }));
  tick(node);
  return node;
}
function tick(node) {
  for (const time of node.querySelectorAll("time[data-when]")) write(time, written(new Date(time.dateTime), time.dataset.when));
  for (const place of node.querySelectorAll("[data-ago]")) {
    const beside = place.querySelector(".ago"), date = new Date(place.querySelector("time").dateTime);
    if (beside) write(beside, split(date).days === split(new Date()).days ? `, ${ago(date)}` : "");
  }
  for (const place of node.querySelectorAll("[data-relative]")) write(place, ago(new Date(place.dataset.relative)));
}

// ---- what the reader is told about the connection
function writtenAt(doc) { // a page without its live line is of now
  const time = doc.querySelector("#live time");
  return time ? new Date(time.dateTime) : new Date();
}
let title = document.title, known = writtenAt(document), rendered = known;
let polling = null, parked = false, stale = false, live = false, checked;
function liveWords() {
  const { live: said } = words;
  if (stale || parked) return say(said.lost, { at: written(known) });
  if (!live) return polling === null ? say(said.asof, { at: written(known), zone }) : said.polling;
  if (!checked) return said.live;
  if (blind) return say(said.silent, { at: written(checked) });
  const seconds = Math.max(0, Math.round((Date.now() - checked) / 1000));
  return say(said.checked, { ago: 1 < seconds && seconds < 60 ? say(said.seconds, { n: seconds }) : ago(checked) });
}
function tellLive() {
  if (!$("live-words")) return; // an extension's doing; the next change brings it back
  write($("live-words"), liveWords());
  $("live").className = `live ${stale || parked ? "off" : live || polling !== null ? "on" : ""}`;
}
// The browser's own bar, above the page, has the colour of the band, or of the paper where there is none.
function tint() {
  const colour = of => getComputedStyle(document.querySelector(of)).backgroundColor;
  const band = colour(".top"), bar = band.endsWith(", 0)") ? colour("body") : band;
  for (const meta of document.querySelectorAll("meta[name=theme-color]")) if (meta.content !== bar) meta.content = bar;
}
function tell() {
  document.title = stale || parked ? say(words.live.tab, { title }) : title;
  const text = stale ? say(words.live.bar, { at: written(known) }) : "";
  if ($("stale").textContent !== text) {
    $("stale").replaceChildren(...(text ? [Object.assign(document.createElement("p"), { textContent: text })] : []));
  }
  tint();
  if (zone === ownZone) write($("zone"), say(words.live.zone, { zone: zone.replaceAll("_", " ") }));
  tellLive();
  tick(main);
}
function heard({ socket = true } = {}) {
  clearTimeout(lost); lost = null;
  known = new Date(); live = socket; stale = false;
  tell();
}
function lose() { lost = null; stale = true; tell(); }

// ---- replacing what changed, and nothing else
// `was` is the server's own last markup: the visible page differs from it by local times and by what the reader has unfolded.
let was = main.cloneNode(true);
function patch(here, old, next) {
  if (here.id === "live" || old?.isEqualNode(next)) return;
  for (const { name } of [...here.attributes]) if (old?.hasAttribute(name) && !next.hasAttribute(name)) here.removeAttribute(name);
  for (const { name, value } of next.attributes) if (old?.getAttribute(name) !== value) here.setAttribute(name, value);
  const kids = [...next.children];
  if (!old || !kids.length || kids.some(kid => !kid.id)) return here.replaceChildren(...localise(next.cloneNode(true)).childNodes);
  for (const node of [...here.childNodes]) if (!kids.some(kid => kid.id === node.id && kid.tagName === node.tagName)) node.remove();
  let place = here.firstElementChild;
  for (const kid of kids) {
    const mine = [...here.children].find(child => child.id === kid.id);
    if (!mine) {
      here.insertBefore(arrived(localise(kid.cloneNode(true))), place);
    } else {
      if (mine === place) place = place.nextElementSibling; else here.insertBefore(mine, place);
      patch(mine, [...old.children].find(child => child.id === kid.id), kid);
    }
  }
}
// What nobody has seen yet is marked; what was a card, and is over, stays unfolded.
function arrived(fresh) {
  const ended = [fresh, ...fresh.querySelectorAll(".row")].filter(row => row.matches(".row") && within(was, row.id)?.matches("article"));
  for (const row of ended) row.open = true;
  const isNew = fresh.matches("article, [id^=update-]") && !within(was, fresh.id);
  for (const node of isNew ? [fresh] : ended) {
    node.classList.add("new");
    node.dataset.new = isNew ? words.live.new : node.querySelector("img").alt.replace(":", "");
  }
  return fresh;
}
// What is being read does not vanish among the folded updates: it stays in the open list, with those above it.
function keepOpen(id) {
  const details = $(id)?.closest("details:not(.row)"), open = details?.previousElementSibling;
  if (!details) return;
  if (!open.matches("ol")) { details.open = true; return; }
  const rest = details.querySelector("ol");
  for (let next; next?.id !== id;) open.append(next = rest.firstElementChild);
  details.hidden = !rest.firstElementChild;
  write(details.querySelector("summary"), say(words.earlier, { n: rest.children.length }));
}
function isListed(update) { // open in its list, and seen, or with the folded ones open below it
  const details = update.parentElement.parentElement.querySelector("details");
  return !update.closest("details:not(.row)") && (inView(update) || details?.open);
}
const folded = element => element.closest("details:not([open])") !== null && !element.matches("details, summary");
function inView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > 0 && top < innerHeight && !folded(element); // browsers give boxes to what is folded
}
function show(next) {
  const headline = tree => tree.querySelector("h1")?.textContent.trim() ?? "";
  const [news] = [...next.querySelectorAll("[id^=update-]")].filter(update => !within(was, update.id)).sort((a, b) => b.id.slice(7) - a.id.slice(7));
  const active = main.contains(document.activeElement) && document.activeElement !== main ? document.activeElement : null;
  const holder = active?.closest("[id]")?.id;
  const index = holder && [...$(holder).querySelectorAll("a,summary")].indexOf(active);
  // What has the focus, else the topmost thing being read, stays where it is on the screen.
  const stays = element => element && element !== main && within(next, element.id) && inView(element);
  const read = [...main.querySelectorAll("header[id], [id^=update-], section[id], details[id], h2[id]")].filter(stays);
  const begins = element => element.getBoundingClientRect().top;
  const high = read.filter(element => begins(element) < innerHeight / 2);
  const anchor = stays(active?.closest("[id]")) ? active.closest("[id]") : high.find(element => begins(element) >= 0) ?? high.at(-1) ?? read[0];
  const top = anchor?.getBoundingClientRect().top;
  const listed = [...main.querySelectorAll("[id^=update-]")].filter(isListed);
  try { patch(main, was, next); } catch { main.replaceChildren(...localise(next.cloneNode(true)).childNodes); } // whatever an extension did
  for (const { id } of listed) keepOpen(id);
  if (active && !active.isConnected) {
    const place = $(holder);
    (place?.querySelectorAll("a,summary")[index] ?? place ?? main).focus({ preventScroll: true });
    if (!main.contains(document.activeElement)) main.focus({ preventScroll: true });
  }
  const now = anchor && $(anchor.id);
  if (now) scrollBy({ top: now.getBoundingClientRect().top - top, behavior: "instant" });
  const said = headline(next) === headline(was) ? [] : [headline(next)];
  if (news) said.push(news.closest("article, .row")?.querySelector("h2, h3")?.textContent ?? headline(next), news.querySelector(".text").textContent);
  if (said.length) $("say").textContent = [...new Set(said)].map(text => text.trim().replace(/\s+/g, " ")).join(": ");
  was = next;
}
const parse = html => new DOMParser().parseFromString(html, "text/html");
let reloading = false;
function outdated(newest) {
  // A cache may still hand out the old page: one reload per build, remembered where only this tab sees it.
  if (newest === build || reloading || history.state === newest) return;
  history.replaceState(newest, "");
  reload();
}
function reload() { reloading = true; setTimeout(() => location.reload(), jitter(30000)); }
function wear(icon, state) {
  const href = `/static/icon-${icon}.svg?v=${build}`;
  if ($("icon").getAttribute("href") !== href) $("icon").href = href;
  if (document.body.className !== state) document.body.className = state;
}

// ---- asking for the page itself: incidents, and everything where sockets do not pass
let etag;
async function refetch() { // answers null, or from when a dead server's page is
  const answer = await fetch(location.pathname, { cache: "no-cache", headers: etag ? { "If-None-Match": etag } : {}, signal: AbortSignal.timeout(15000) });
  if (answer.status !== 304) {
    const doc = parse(await answer.text()), data = doc.documentElement.dataset;
    // Only our own page counts; an incident that was taken back is our own 404.
    if (!(answer.ok || answer.status === 404) || !data.epoch || !doc.querySelector("main")) throw new Error(`no page: ${answer.status}`);
    rendered = writtenAt(doc);
    if (data.epoch !== epoch || Number(data.version) >= version) {
      show(doc.querySelector("main"));
      etag = answer.headers.get("etag"); // only what is shown counts as known
      ({ epoch } = data); version = Number(data.version); title = doc.title; blind = "blind" in data;
      wear(/icon-(\w+)/.exec(doc.querySelector("#icon").getAttribute("href"))[1], doc.body.className);
      outdated(data.build);
    }
  }
  // A cache may answer for a dead server (stale-if-error); the server renders its page anew every 10 minutes, so older means dead.
  return Number(answer.headers.get("age")) > 60 || Date.parse(answer.headers.get("date")) - rendered > 11 * 60000 ? rendered : null;
}
function poll() {
  polling = setTimeout(async () => {
    try {
      const old = await refetch();
      if (polling === null) return;
      if (old) { known = old; lose(); } else heard({ socket: false });
    } catch { if (polling !== null) lost ??= setTimeout(lose, 5000); }
    if (polling !== null) poll();
  }, polling === null ? 1000 + jitter(3000) : 30000 + jitter(10000));
}

// ---- the socket
let ws, deadline, retry, lost = null, parking, tries = 0, limit = 62500;
function drop() { clearTimeout(deadline); clearTimeout(retry); if (ws) { ws.onmessage = ws.onclose = null; ws.close(); ws = null; } }
function open() {
  drop();
  const mine = ws = new WebSocket(`${location.origin.replace(/^http/, "ws")}/feed/page?since=${version}&epoch=${encodeURIComponent(epoch)}`);
  let greeted = false;
  // A dead link may take minutes to say so: silence is enough.
  const alive = ms => { clearTimeout(deadline); deadline = setTimeout(() => { if (!greeted) return again(); lose(); open(); }, ms); };
  alive(15000);
  ws.onclose = event => again(event, greeted);
  ws.onmessage = async event => {
    const message = JSON.parse(event.data);
    if (message.type !== "state" && message.type !== "heartbeat") return;
    greeted = true;
    if (message.type === "state") limit = 2.5 * message.heartbeat_ms;
    alive(limit);
    checked = message.checked_at ? new Date(message.checked_at) : checked;
    if (message.type === "state") {
      const taken = await take(message);
      if (mine !== ws) return;
      if (!taken) return lose();
    }
    else if (message.version !== version || message.epoch !== epoch) return tries++ ? again({}, true) : open();
    tries = 0;
    clearTimeout(polling); polling = null;
    heard();
  };
}
async function take(state) {
  if (state.epoch === epoch && state.version < version) return true;
  outdated(state.build);
  blind = state.blind;
  wear(state.icon, page === "home" ? `k-${state.icon}` : document.body.className);
  if (state.epoch === epoch && state.version === version) return true;
  if (page === "home") {
    show(parse(`<main id="main" tabindex="-1">${state.html}</main>`).querySelector("main"));
    ({ epoch, version, title } = state);
    return true;
  }
  const next = state.epoch === epoch && state.version === version + 1;
  // A hint that this version is about another incident; without one it may be about this.
  if (next && incident && state.changed?.incident && state.changed.incident !== incident) { version = state.version; return true; }
  // A cache in front may be some seconds behind: ask until it has caught up. Spread, because a mail sends many readers here.
  for (let i = 0; i < 5; i++) {
    await sleep(i * 4000 + jitter(1000));
    try { await refetch(); } catch { continue; }
    if (epoch === state.epoch && version >= state.version) return true;
  }
  return false;
}
// A socket that was never greeted may have found the server full: then polling goes on within the time that nobody is told anything.
function again({ code, reason } = {}, greeted = false) {
  drop();
  if (code === 4410) return reload();
  if (polling === null) lost ??= setTimeout(lose, 5000);
  const told = /retry_ms=(\d+)/.exec(reason);
  retry = setTimeout(open, told && code === 1001 ? Math.min(told[1], 60000) : (code === 1013 ? 30000 : 0) + jitter(Math.min(60000, 1000 * 2 ** tries)));
  if ((++tries >= 3 || !greeted) && polling === null) poll();
}
// Hidden for long, or frozen: no socket held and no alarm raised, but the tab must not look current either.
function park() {
  drop(); clearTimeout(lost); clearTimeout(polling);
  lost = polling = null; parked = true; live = false;
  tell();
}
function wake() { if (parked) { parked = false; open(); } }

localise(document);
tell();
document.querySelector(".top").addEventListener("transitionend", tint);
setInterval(tell, 15000);
setInterval(() => { if (!document.hidden) tellLive(); }, 1000);
if (["home", "incident", "history", "day"].includes(page)) {
  open();
  addEventListener("online", () => { if (ws?.readyState !== WebSocket.OPEN) open(); });
  addEventListener("pagehide", park); // the back-forward cache takes no page with a socket
  addEventListener("pageshow", wake);
  document.addEventListener("freeze", park);
  document.addEventListener("resume", wake);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(parking);
    if (document.hidden) parking = setTimeout(park, 300000); else wake();
  });
}
