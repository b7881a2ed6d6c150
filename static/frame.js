// Renews the frame about every minute while it is seen, and says so when it cannot; without this script it is complete.
async function renew() {
  if (!document.hidden) try {
    const answer = await fetch(location.pathname, { credentials: "omit", signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("headline");
    const shown = document.getElementById("headline"), focused = document.activeElement.id === "link";
    if (shown.outerHTML !== fresh.outerHTML) {
      shown.replaceWith(fresh);
      if (focused) document.getElementById("link").focus();
    }
  } catch { document.getElementById("old").hidden = false; }
  setTimeout(renew, 60000 + Math.random() * 15000);
}
setTimeout(renew, 60000 + Math.random() * 15000);
