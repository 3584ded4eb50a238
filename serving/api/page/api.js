// The shop's HTTP interface, with errors as something to say to a person.

export class Trouble extends Error {
  constructor(title, text, { retry = true, requestId = null } = {}) {
    super(text);
    this.title = title;
    this.retry = retry;
    this.requestId = requestId;
  }
}

const sentences = {
  bad_image: (message) => ["This picture cannot be used", sentence(message), false],
  bad_input: (message) => ["This search cannot be made", sentence(message), false],
  not_found: () => ["It is no longer in the shop", "Perhaps it sold out. Search with a picture instead.", false],
  overloaded: () => ["Many people are searching", "Please try again in a moment.", true],
  unavailable: () => ["The shop is still starting", "Part of the search is not up yet. Please try again shortly.", true],
  text_search_off: () => ["Words are not understood here", "Please search with a picture.", false],
  model_mismatch: () => ["The shop is being updated", "This takes a moment. Please try again.", true],
  deadline_passed: () => ["This took too long", "Please try again.", true],
};

function sentence(message) {
  const text = message.trim();
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}

async function ask(path, options) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("The shop cannot be reached", "Check the connection, then try again.");
  }
  const body = await reply.json().catch(() => null);
  if (reply.ok && body) return body;
  const { code, message, request_id: requestId = null } = body?.error ?? {};
  const say = sentences[code];
  if (!say) {
    throw new Trouble("Something went wrong", "It is not your picture. Please try again.", { requestId });
  }
  const [title, text, retry] = say(message);
  throw new Trouble(title, text, { retry });
}

export function status() {
  return ask("/v1/status");
}

export function searchPicture(file, box, filters, k, signal) {
  const form = new FormData();
  form.append("image", file, "picture");
  if (box) form.append("box", JSON.stringify(box));
  form.append("filters", JSON.stringify(filters));
  form.append("k", k);
  return ask("/v1/search/image", { method: "POST", body: form, signal });
}

export function searchProduct(productId, filters, k, signal) {
  return search({ product_id: productId, filters, k }, signal);
}

export function searchText(text, filters, k, signal) {
  return search({ text, filters, k }, signal);
}

export async function product(productId) {
  return (await ask(`/v1/products/${encodeURIComponent(productId)}`)).product;
}

function search(asked, signal) {
  const body = JSON.stringify(asked);
  return ask("/v1/search", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
}
