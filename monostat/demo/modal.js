// The modal in front of a person; when the app changes it, what was entered under the same ids stays.

import { blocks, el, entered, tap } from "./blocks.js";

const dialog = document.getElementById("modal");

function valuesOf(view) {
  const values = dialog.view === view.id ? entered(dialog) : {};
  for (const [block, fields] of Object.entries(view.state.values)) {
    for (const [action, { type, ...answer }] of Object.entries(fields)) {
      const [found] = Object.values(answer);
      (values[block] ??= {})[action] ??= Array.isArray(found) ? found.map((one) => one.value) : found?.value ?? found;
    }
  }
  return values;
}

export function showModal(view, post) {
  const print = view && JSON.stringify({ ...view, state: null });
  if (dialog.print === print) return;
  dialog.print = print;
  if (!view) {
    dialog.close();
    return;
  }
  const told = el("p", { className: "warning", role: "alert" }), at = { user: view.user, view_id: view.id };
  const say = async (verb, more = {}) => { told.textContent = await post(verb, { ...at, ...more }); };
  const use = ({ action_id }, chosen) => say("press_in_view", { action_id, chosen, values: entered(dialog) });
  const parts = blocks(view.blocks, { use, values: valuesOf(view), errors: view.errors });
  const leave = () => say("close_view");
  const send = el("button", { className: "primary" }, view.submit?.text || "");
  const form = el("form", {}, el("h2", {}, view.title.text), el("div", { className: "parts" }, parts), told,
    el("footer", {}, tap(view.close?.text || "Cancel", leave), view.submit ? send : ""));
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (!view.submit || send.ariaBusy === "true") return;
    send.ariaBusy = "true";
    await say("submit_view", { values: entered(dialog) });
    send.ariaBusy = "false";
  };
  dialog.oncancel = (event) => { event.preventDefault(); leave(); };
  const { block, action } = document.activeElement.closest("[data-block]")?.dataset ?? {};
  dialog.replaceChildren(form);
  dialog.view = view.id;
  if (!dialog.open) dialog.showModal();
  const wrong = dialog.querySelector("[aria-invalid]");
  const again = [...dialog.querySelectorAll("[data-block]")]
    .find(({ dataset }) => dataset.block === block && dataset.action === action);
  (wrong || again)?.focus();
}
