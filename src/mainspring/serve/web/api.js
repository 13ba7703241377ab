// The server's endpoints, as the page uses them.

import { byId } from "./dom.js";

const KEY = "mainspring-key";

export class ServerError extends Error {}

async function call(path, options = {}) {
  const { body, ...rest } = options;
  const key = sessionStorage.getItem(KEY);
  const headers = { ...(body && { "content-type": "application/json" }), ...(key && { authorization: `Bearer ${key}` }) };
  let response;
  try {
    response = await fetch(path, { ...rest, headers, body: body && JSON.stringify(body), method: body ? "POST" : "GET" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server cannot be reached. Is it still running?");
  }
  if (response.status === 401) {
    await askForKey();
    return call(path, options);
  }
  if (!response.ok) throw new ServerError(await faultOf(response));
  return response;
}

async function faultOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

let asking = null;

function askForKey() {
  asking ??= new Promise((resolve) => {
    const dialog = byId("key-dialog");
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    byId("key-form").addEventListener("submit", () => {
      sessionStorage.setItem(KEY, byId("key").value);
      byId("key").value = "";
      asking = null;
      resolve();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

export async function chatModels() {
  const { data } = await (await call("/v1/models")).json();
  return data.filter((model) => model.mainspring.task === "chat").map((model) => model.id);
}

export async function documentOf(id) {
  return (await call(`/documents/${encodeURIComponent(id)}`)).json();
}

export async function rate(request, rating, correction) {
  await call("/feedback", { body: { request, rating, correction } });
}

// Yields {request}, then {text} as it comes, then {extension} at the end.
export async function* chat(model, messages, signal) {
  const response = await call("/v1/chat/completions", { body: { model, messages, stream: true }, signal });
  yield { request: response.headers.get("x-request-id") };
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ServerError(chunk.error.message);
    const text = chunk.choices[0]?.delta.content;
    if (text) yield { text };
    if (chunk.mainspring) yield { extension: chunk.mainspring };
  }
  throw new ServerError("The connection ended before the answer was whole.");
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      if (part.startsWith("data: ")) yield part.slice("data: ".length); // others are comments that keep the line open
    }
  }
}
