// The conversation: what was said, what is being said, and the controls around it.

import { Answer } from "./answer.js";
import { chat, chatModels } from "./api.js";
import { byId, make } from "./dom.js";
import { feedback } from "./feedback.js";
import { closeSource } from "./source.js";

const turns = byId("turns");
const question = byId("question");
const welcome = byId("welcome");
const NEAR_THE_END_PX = 120;

let messages = [];
let running = null;

async function ask(text) {
  welcome.remove();
  const answer = new Answer();
  const asked = make("div", { class: "question", "aria-label": "Question", role: "group", text });
  turns.append(asked, answer.element);
  asked.scrollIntoView({ block: "start" });
  const mine = { role: "user", content: text };
  const control = new AbortController();
  begin(control);
  try {
    for await (const event of chat(byId("model").value, [...messages, mine], control.signal)) {
      if (event.request) answer.request = event.request;
      if (event.text) follow(() => answer.add(event.text));
      if (event.extension) follow(() => answer.end(event.extension));
    }
    remember(mine, answer);
  } catch (error) {
    if (control.signal.aborted) {
      answer.stop();
      remember(mine, answer);
      if (answer.text) answer.element.append(feedback(answer.request));
    } else {
      answer.fail(error.message);
      if (!question.value) question.value = text;
    }
  } finally {
    if (running === control) begin(null);
    grow();
  }
}

// Only a pair with both halves goes back to the model; anything else would be out of order.
function remember(mine, answer) {
  if (answer.text && answer.element.isConnected) {
    messages.push(mine, { role: "assistant", content: answer.text });
  }
}

function begin(control) {
  running = control;
  byId("send").hidden = Boolean(control);
  byId("stop").hidden = !control;
  if (!control && document.activeElement === document.body) question.focus();
}

// Change the page, and stay at its end if the reader was there.
function follow(change) {
  const talk = byId("talk");
  const isNear = talk.scrollHeight - talk.scrollTop - talk.clientHeight < NEAR_THE_END_PX;
  change();
  if (isNear) talk.scrollTop = talk.scrollHeight;
}

function grow() {
  question.style.height = "auto";
  question.style.height = `${question.scrollHeight}px`;
}

function restart() {
  running?.abort();
  messages = [];
  closeSource();
  turns.replaceChildren(welcome);
  question.focus();
}

async function listModels() {
  const select = byId("model");
  try {
    const names = await chatModels();
    select.replaceChildren(...names.map((name) => make("option", { value: name, text: name })));
    if (names.includes("mainspring")) select.value = "mainspring";
    select.disabled = names.length === 0;
  } catch (error) {
    select.replaceChildren(make("option", { text: "no models" }));
    turns.append(make("p", { class: "failure", role: "alert", text: error.message }));
  }
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = question.value.trim();
  if (!text || running || byId("model").disabled) return;
  question.value = "";
  grow();
  ask(text);
});
question.addEventListener("input", grow);
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    byId("composer").requestSubmit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !byId("key-dialog").open && !closeSource()) running?.abort();
});
byId("stop").addEventListener("click", () => {
  running?.abort();
  question.focus();
});
byId("fresh").addEventListener("click", restart);
listModels();
