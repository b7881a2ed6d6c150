// Keeps the page current: one socket, or polling where sockets do not pass. Without this script the page is complete, only not live.
const $ = id => document.getElementById(id);
const { page, build, incident } = document.documentElement.dataset;
let { epoch, version } = document.documentElement.dataset;
version = Number(version);
const main = $("main"), jitter = ms => Math.random() * ms, sleep = ms => new Promise(done => setTimeout(done, ms));

// ---- times: the reader's zone, with how long ago beside it (no live region holds one, so its ticking is never read out)
// English in the reader's own flavour: a German date inside an English sentence helps nobody.
const english = navigator.languages?.find(l => /^en\b/.test(l)) ?? "en-GB";
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const format = options => { const f = Intl.DateTimeFormat(english, options); return date => f.format(date); };
const clock = format({ hour: "numeric", minute: "2-digit" });
const day = format({ day: "numeric", month: "short", hour: "numeric", minute: "2-digit" });
const year = format({ dateStyle: "medium", timeStyle: "short" });
const full = format({ day: "numeric", month: "long", year: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short" });
const relative = new Intl.RelativeTimeFormat("en");
function local(date) {
  const now = new Date();
  return (date.toDateString() === now.toDateString() ? clock : date.getFullYear() === now.getFullYear() ? day : year)(date);
}
function ago(date) {
  const minutes = (date - Date.now()) / 60000, size = Math.abs(minutes);
  if (size < 1) return minutes > 0 ? "in less than a minute" : "just now";
  const [unit, each] = size < 60 ? ["minute", 1] : size < 2880 ? ["hour", 60] : ["day", 1440];
  return relative.format(Math.trunc(minutes / each), unit);
}
function localise(node) {
  for (const time of node.querySelectorAll("time[data-when]")) {
    time.dataset.full = full(new Date(time.dateTime)); // for paper
    time.title = `${time.dataset.full} (${zone}), that is ${time.textContent}`;
    if (!time.closest("[data-plain]")) time.after(Object.assign(document.createElement("span"), { className: "ago" }));
  }
  tick(node);
  return node;
}
function tick(node) {
  // Written only when it differs: writing would undo a selection.
  const write = (el, words) => { if (el && el.textContent !== words) el.textContent = words; };
  for (const time of node.querySelectorAll("time[data-when]")) {
    const date = new Date(time.dateTime), beside = time.nextElementSibling;
    write(time, local(date));
    if (beside?.className === "ago") write(beside, `\u00a0· ${ago(date)}`);
  }
}

// ---- what the reader is told about the connection
const asof = $("asof");
let polling = null, parked = false, title = document.title, known = new Date(asof.querySelector("time").dateTime), rendered = known, stale = false, live = false, checked;
function tell() {
  document.title = (stale || parked ? "(not live) " : "") + title;
  const text = stale ? `Not live: this is what we knew at ${local(known)}. Trying again.` : "";
  if ($("stale").textContent !== text) {
    $("stale").replaceChildren(...(text ? [Object.assign(document.createElement("p"), { textContent: text })] : []));
  }
  const words = `${live && !stale ? "Live, as" : "As"} of ${local(known)}${polling && !stale ? ", checked every half minute" : ""}.` + (!stale && checked && !$("blind") && !main.querySelector("#headline.k-unknown") ? ` Monitoring last reported ${ago(checked)}.` : "") + ` Times are in your time zone, ${zone}.`;
  if (asof.textContent !== words) asof.textContent = words;
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
  if (old?.isEqualNode(next)) return;
  for (const { name } of [...here.attributes]) if (old?.hasAttribute(name) && !next.hasAttribute(name)) here.removeAttribute(name);
  for (const { name, value } of next.attributes) if (here.getAttribute(name) !== value) here.setAttribute(name, value);
  const kids = [...next.children];
  if (!old || !kids.length || kids.some(kid => !kid.id)) return here.replaceChildren(...localise(next.cloneNode(true)).childNodes);
  for (const node of [...here.childNodes]) if (!kids.some(kid => kid.id === node.id && kid.tagName === node.tagName)) node.remove();
  let place = here.firstElementChild;
  for (const kid of kids) {
    const mine = here.children[kid.id];
    if (!mine) {
      const fresh = localise(kid.cloneNode(true));
      if (/^update-/.test(kid.id)) fresh.classList.add("new");
      here.insertBefore(fresh, place);
    } else {
      if (mine === place) place = place.nextElementSibling; else here.insertBefore(mine, place);
      patch(mine, old.children[kid.id], kid);
    }
  }
}
function show(next) {
  const words = tree => tree.querySelector("h1")?.textContent.trim() ?? "";
  const news = [...next.querySelectorAll("[id^=update-]")].filter(u => !was.querySelector(`#${u.id}`)).sort((a, b) => b.id.slice(7) - a.id.slice(7))[0];
  const active = main.contains(document.activeElement) ? document.activeElement : null;
  const holder = active?.closest("[id]")?.id, index = holder && [...$(holder).querySelectorAll("a,summary")].indexOf(active);
  const inView = el => { const { top, bottom } = el.getBoundingClientRect(); return bottom > 0 && top < innerHeight; };
  const stays = el => el.id && next.querySelector(`#${el.id}`);
  // What has the focus, else the topmost thing being read, stays where it is on the screen.
  const anchor = [active?.closest("[id]"), ...main.querySelectorAll("header[id], li[id]")].find(el => el && el !== main && stays(el) && inView(el));
  const top = anchor?.getBoundingClientRect().top, read = [...main.querySelectorAll("li[id^=update-]")].filter(inView);
  patch(main, was, next);
  // What is being read does not vanish among the earlier updates.
  for (const { id } of read) $(id)?.closest("details")?.setAttribute("open", "");
  if (active && !active.isConnected && $(holder)) ($(holder).querySelectorAll("a,summary")[index] ?? $(holder)).focus({ preventScroll: true });
  const now = anchor && $(anchor.id);
  if (now) scrollBy({ top: now.getBoundingClientRect().top - top, behavior: "instant" });
  const said = words(next) === words(was) ? [] : [words(next)];
  if (news) said.push(news.closest("article").querySelector("h1, h3").textContent, news.querySelector(".text").textContent);
  if (said.length) $("say").textContent = said.map(s => s.trim().replace(/\s+/g, " ")).join(": ");
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
function wear(icon) { const href = `/static/icon-${icon}.svg?v=${build}`; if ($("icon").getAttribute("href") !== href) $("icon").href = href; }

// ---- asking for the page itself: incidents, and everything where sockets do not pass
let etag;
async function refetch() { // answers null, or from when a dead server's page is
  const answer = await fetch(location.pathname, { cache: "no-cache", headers: etag ? { "If-None-Match": etag } : {}, signal: AbortSignal.timeout(15000) });
  if (answer.status !== 304) {
    const doc = parse(await answer.text()), data = doc.documentElement.dataset;
    // Only our own page counts; an incident that was taken back is our own 404.
    if (!(answer.ok || answer.status === 404) || !data.epoch || !doc.querySelector("main")) throw new Error(`no page: ${answer.status}`);
    rendered = new Date(doc.querySelector("#asof time").dateTime);
    if (data.epoch !== epoch || Number(data.version) >= version) {
      show(doc.querySelector("main"));
      etag = answer.headers.get("etag"); // only what is shown counts as known
      ({ epoch } = data); version = Number(data.version); title = doc.title;
      wear(/icon-(\w+)/.exec(doc.querySelector("#icon").getAttribute("href"))[1]);
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
let ws, deadline, retry, lost = null, parking, attempt = 0, limit = 62500;
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
    else if (message.version !== version || message.epoch !== epoch) return attempt++ ? again({}, true) : open();
    attempt = 0;
    clearTimeout(polling); polling = null;
    heard();
  };
}
async function take(state) {
  if (state.epoch === epoch && state.version < version) return true;
  outdated(state.build);
  wear(state.icon);
  if (state.epoch === epoch && state.version === version) return true;
  if (page === "home") {
    show(parse(`<main id="main" tabindex="-1">${state.html}</main>`).querySelector("main"));
    ({ epoch, version, title } = state);
    return true;
  }
  const next = state.epoch === epoch && state.version === version + 1;
  if (next && incident && state.changed && String(state.changed.incident) !== incident) { version = state.version; return true; }
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
  retry = setTimeout(open, told && code === 1001 ? Math.min(told[1], 60000) : (code === 1013 ? 30000 : 0) + jitter(Math.min(60000, 1000 * 2 ** attempt)));
  if ((++attempt >= 3 || !greeted) && polling === null) poll();
}

localise(document);
tell();
setInterval(tell, 15000);
if (["home", "incident", "history", "day"].includes(page)) {
  open();
  addEventListener("online", () => { if (ws?.readyState !== WebSocket.OPEN) open(); });
  document.addEventListener("visibilitychange", () => {
    clearTimeout(parking);
    if (document.hidden) parking = setTimeout(park, 300000);
    else if (parked) { parked = false; open(); }
  });
}
// Hidden for long: no socket held and no alarm raised, but the tab must not look current either.
function park() {
  drop(); clearTimeout(lost); clearTimeout(polling);
  lost = polling = null; parked = true; live = false;
  tell();
}
