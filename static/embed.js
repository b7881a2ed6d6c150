// A banner for other sites: docs/embed.md.
(async () => {
const doc = document, script = doc.currentScript, { position, min } = script.dataset;
const href = new URL("/", script.src).href, links = () => doc.querySelectorAll("a[data-monostat]");
const levels = { suspected: [1, "#8a6100"], maintenance: [1, "#1565c0"],
  minor: [2, "#8a6100"], major: [3, "#b3500b"], critical: [4, "#b3261e"] };
const event = name => new Promise(done => doc.addEventListener(name, done, { once: true }));
const make = (tag, style, more) => Object.assign(doc.createElement(tag), { style }, more);
let host, shown, dismissed;
try { dismissed = sessionStorage.monostat; } catch {}
const drop = () => { host?.remove(); shown = null; };

const show = ({ status, monostat: { words, deciding } }) => {
  const suspected = status.description === "Partially Degraded Service";
  const [rank, colour] = levels[suspected ? "suspected" : status.indicator] || [0];
  const quiet = rank < (levels[min]?.[0] || 2), text = words.banner, news = deciding?.id + text;
  for (const link of links()) {
    link.was ??= link.textContent;
    link.textContent = rank && quiet ? words.quiet : text;
    link.href ||= href;
  }
  if (news === shown) return;
  drop();
  if (quiet || news === dismissed) return;
  shown = news;
  const inline = position === "inline", side = /right/.test(position) ? "right" : "left";
  const place = inline ? "" : `position:fixed;z-index:9999;bottom:16px;${side}:16px`;
  host = make("div", "all:initial;display:block;" + place);
  const bar = make("div", `box-sizing:border-box;display:flex;gap:8px;max-width:min(420px,100vw - 32px);
    padding:12px;border:1px solid;border-radius:8px;background:${colour};color:#fff;
    font:16px/24px system-ui;overflow-wrap:anywhere`, { lang: words.language });
  const told = make("div", "flex:1", { role: "status" });
  const onclick = () => {
    dismissed = news;
    drop();
    try { sessionStorage.monostat = news; } catch {}
  };
  bar.append(told, make("button", "width:24px;border:0;background:0;color:#fff;font:inherit",
    { textContent: "✕", ariaLabel: words.dismiss, onclick }));
  host.attachShadow({ mode: "open" }).append(bar);
  inline ? script.after(host) : doc.body.append(host);
  // Later: of a status region only changes are read out.
  const link = { href, target: "_blank", rel: "noopener", textContent: text };
  setTimeout(() => told.append(make("a", "color:#fff", link)), 50);
};

if (doc.readyState === "loading") await event("DOMContentLoaded");
for (let failures = 0; failures < 10;) {
  try {
    const signal = AbortSignal.timeout(4000);
    show(await (await fetch(href + "api/v2/summary.json", { credentials: "omit", signal })).json());
    failures = 0;
  } catch {
    if (++failures > 1) links().forEach(link => link.textContent = link.was || link.textContent);
  }
  await new Promise(done => setTimeout(done, 6e4 + Math.random() * 15e3));
  if (doc.hidden) await event("visibilitychange");
}
drop();
})().catch(() => {});
