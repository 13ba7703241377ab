// Thumbs up and down, and the correction that the next version may learn from.

import { rate } from "./api.js";
import { icon, make } from "./dom.js";

const UP = "M6.5 9.2 9.6 3c1.3 0 2 .9 1.8 2.2l-.5 2.7h4c1 0 1.7.9 1.5 1.9l-1 5c-.2.8-.8 1.3-1.6 1.3H6.5zm0 0H3.6v6.9h2.9";
const DOWN = "M13.5 10.8 10.4 17c-1.3 0-2-.9-1.8-2.2l.5-2.7h-4c-1 0-1.7-.9-1.5-1.9l1-5c.2-.8.8-1.3 1.6-1.3h7.3zm0 0h2.9V3.9h-2.9";

export function feedback(request) {
  const status = make("span", { class: "faint", role: "status" });
  const form = make("form", { class: "correction", hidden: "" });
  const up = thumb("Good answer", UP);
  const down = thumb("Bad answer", DOWN);
  const row = make("div", { class: "feedback" }, make("div", { class: "thumbs" }, up, down, status), form);

  async function send(rating, correction) {
    row.querySelectorAll("button").forEach((button) => (button.disabled = true));
    status.classList.remove("wrong");
    try {
      await rate(request, rating, correction);
      up.setAttribute("aria-pressed", String(rating === "up"));
      down.setAttribute("aria-pressed", String(rating === "down"));
      return true;
    } catch (error) {
      status.textContent = error.message;
      status.classList.add("wrong");
      return false;
    } finally {
      row.querySelectorAll("button").forEach((button) => (button.disabled = false));
    }
  }

  up.addEventListener("click", async () => {
    if (!(await send("up"))) return;
    form.hidden = true;
    status.textContent = "Thank you, your rating is saved.";
  });
  down.addEventListener("click", async () => {
    if (!(await send("down"))) return;
    status.textContent = "Your rating is saved.";
    form.hidden = false;
    text.focus();
  });

  const label = make("label", { text: "What would have been the right answer?" });
  const text = make("textarea", { rows: "3", class: "field", "aria-label": "Correction" });
  label.append(text);
  const save = make("button", { type: "submit", class: "filled", text: "Save correction" });
  form.append(label, save);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!text.value.trim()) {
      text.focus();
      return;
    }
    if (!(await send("down", text.value.trim()))) return;
    form.hidden = true;
    status.textContent = "Thank you, your correction is saved.";
    down.focus();
  });
  return row;
}

function thumb(label, path) {
  const options = { type: "button", class: "quiet", "aria-label": label, title: label, "aria-pressed": "false" };
  return make("button", options, icon(path));
}
