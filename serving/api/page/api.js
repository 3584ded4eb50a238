// The shop's HTTP interface; every failure is a Trouble, but for a search that a newer one has stopped.

import { troubleOf, unreachable } from "/page/trouble.js";

const KEY = "imgsearch-key"; // in sessionStorage: gone with the tab

export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

async function ask(path, { headers = {}, ...options } = {}) {
  const key = sessionStorage.getItem(KEY);
  const sent = key ? { ...headers, Authorization: `Bearer ${key}` } : headers;
  let reply;
  try {
    reply = await fetch(path, { ...options, headers: sent });
  } catch (error) {
    throw error.name === "AbortError" ? error : unreachable();
  }
  const body = await reply.json().catch(() => null);
  if (options.signal?.aborted) throw new DOMException("", "AbortError");
  if (reply.ok && body) return body;
  const afterS = Math.ceil(Number(reply.headers.get("Retry-After"))) || 0;
  throw troubleOf(reply.status, body?.error, afterS, Boolean(key));
}

export function status() {
  return ask("/v1/status");
}

// By a picture (and a part of it), words or a product; `page` is {k} and, after the first one, {cursor}.
export function search({ file, box, text, productId }, filters, page, signal) {
  if (!file) {
    const source = text ? { text } : { product_id: productId };
    const body = JSON.stringify({ ...source, filters, ...page });
    return ask("/v1/search", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
  }
  const form = new FormData();
  form.append("image", file, "picture");
  if (box) form.append("box", JSON.stringify(box));
  form.append("filters", JSON.stringify(filters));
  for (const [name, value] of Object.entries(page)) form.append(name, value);
  return ask("/v1/search/image", { method: "POST", body: form, signal });
}

export async function product(productId) {
  return (await ask(`/v1/products/${encodeURIComponent(productId)}`)).product;
}

// What is known of a product, and why it is like another one where `like` names one.
export function explain(productId, like) {
  const asked = like ? `?${new URLSearchParams({ like })}` : "";
  return ask(`/v1/products/${encodeURIComponent(productId)}/explain${asked}`);
}
