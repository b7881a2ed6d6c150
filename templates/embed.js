{# A banner on other sites while something is open here, docs/embed.md; served without these comments and most of the spaces. #}
{% filter replace("  ", "") | replace(" = ", "=") | replace(" => ", "=>") | replace(" === ", "===") | replace(" + ", "+") | replace("{ ", "{") | replace(" }", "}") | replace(" || ", "||") | replace(" && ", "&&") | replace(" ? ", "?") | replace(" : ", ":") | replace("; ", ";") | replace("const ", "let ") %}
(async () => { try {
const words = { en: { suspected: "may be having problems, not yet confirmed", maintenance: "is under maintenance",
minor: "has a known problem", major: "is partly not working", critical: "is down", none: "status", close: "Dismiss" } };
const ranks = { suspected: 1, maintenance: 1, minor: 2, major: 3, critical: 4 }, rank = kind => ranks[kind] || 0;
const colours = { maintenance: "#1565c0", major: "#b3500b", critical: "#b3261e" };
const doc = document, script = doc.currentScript, { position, lang, min } = script.dataset, href = new URL("/", script.src).href;
const say = words[lang] || words.en;
const event = name => new Promise(done => doc.addEventListener(name, done, { once: true }));
const make = (tag, style, more) => Object.assign(doc.createElement(tag), { style }, more);
let host, shown, waived;
try { waived = sessionStorage.monostat; } catch {}
const links = () => doc.querySelectorAll("a[data-monostat]");
const drop = () => { host?.remove(); shown = 0; };
const show = ({ page, status, incidents, scheduled_maintenances: plans, monostat }) => {
  const kind = status.description === "Partially Degraded Service" ? "suspected" : status.indicator;
  const quiet = rank(kind) < (rank(min) || 2), name = page.name + " ";
  const about = [...incidents, ...plans].find(i => i.status !== "scheduled" && (kind === "minor" ? rank(i.impact) > 1 : i.impact === kind));
  const now = name + say[kind] + (about ? ": " + about.name : "");
  {# Where we see nothing ourselves, nothing is said to be well. #}
  for (const link of links()) {
    link.was ??= link.textContent;
    link.textContent = quiet && (rank(kind) || monostat?.monitoring?.ok === false) ? name + say.none : status.description;
    link.href ||= href;
  }
  if (now === shown) return;
  drop();
  if (quiet || now === waived) return;
  shown = now;
  const inline = position === "inline", side = position === "bottom-right" ? "right" : "left";
  host = make("div", "all:initial;" + (inline ? "display:block" : `position:fixed;z-index:9999;bottom:16px;${side}:16px`));
  const bar = make("div", `display:flex;gap:8px;max-width:min(420px,90vw);padding:12px;border:1px solid;border-radius:8px;
background:${colours[kind] || "#8a6100"};color:#fff;font:16px/24px system-ui,sans-serif;overflow-wrap:anywhere`, { lang: words[lang] ? lang : "en" });
  const told = make("div", "flex:1", { role: "status" }), onclick = () => {
    drop();
    waived = now;
    try { sessionStorage.monostat = now; } catch {}
  };
  bar.append(told, make("button", "width:24px;border:0;background:0;color:#fff;font:inherit", { textContent: "✕", ariaLabel: say.close, onclick }));
  host.attachShadow({ mode: "open" }).append(bar);
  inline ? script.after(host) : doc.body.append(host);
  {# Later: only what changes inside a status region is read out. #}
  setTimeout(() => told.append(make("a", "color:#fff", { href, target: "_blank", rel: "noopener", textContent: now })), 50);
};
if (doc.readyState === "loading") await event("DOMContentLoaded");
for (let failures = 0; failures < 10;) {
  try {
    show(await (await fetch(href + "api/v2/summary.json", { credentials: "omit", signal: AbortSignal.timeout(4000) })).json());
    failures = 0;
  } catch { if (++failures > 1) links().forEach(a => a.textContent = a.was || a.textContent); }
  await new Promise(done => setTimeout(done, 6e4 + Math.random() * 15e3));
  if (doc.hidden) await event("visibilitychange");
}
drop();
} catch {} })();
{% endfilter %}
