// How the shop is: looked at until it is open, and told where it is not.

import * as api from "/page/api.js";
import * as filters from "/page/filters.js";
import { count } from "/page/format.js";
import { Trouble } from "/page/trouble.js";

const $ = (id) => document.getElementById(id);
const FIRST_LOOK_S = 3;
const LAST_LOOK_S = 30;

// As last heard. `mostBytes`: the largest picture.
export const known = { generation: null, mostBytes: 10 * 2 ** 20 };

let looking = null;

const notices = {
  busy: "The shop has much to do just now. Trying again…",
  degraded: "The picture search is not available just now. Searching by product works.",
  empty: "The shelves are still being filled: products appear here as soon as the first catalogue is indexed.",
  unavailable: "The search is not available just now. Trying again…",
  unreachable: "The shop does not answer just now. Trying again…",
};

// `refused` is called where the shop wants a key. Looks again, ever more seldom, until the shop is open.
export async function lookIn(refused, waitS = FIRST_LOOK_S) {
  clearTimeout(looking);
  let shop;
  try {
    shop = await api.status();
  } catch (error) {
    if (error.needsKey) return refused(error);
    shop = { state: error.afterS ? "busy" : "unreachable" };
    waitS = Math.max(waitS, error.afterS);
  }
  if (shop.services) heard(shop);
  document.body.dataset.shop = shop.state;
  $("notice").hidden = shop.state === "ready";
  $("notice").textContent = notices[shop.state] ?? "";
  if (shop.state === "ready") return;
  looking = setTimeout(lookIn, waitS * 1000, refused, Math.min(LAST_LOOK_S, waitS * 1.5));
}

function heard(shop) {
  known.generation = shop.generation;
  known.mostBytes = shop.max_picture_bytes;
  filters.offerCategories(shop.values.categories);
  for (const words of document.querySelectorAll(".words")) words.hidden = !shop.text_search;
  $("shop").textContent = shop.products ? `${count(shop.products)} products` : "";
}

// A picture's search that failed because a service is away, told with what works meanwhile.
export async function withWhatWorks(trouble) {
  if (trouble.code !== "unavailable") return trouble;
  const shop = await api.status().catch(() => null);
  if (shop?.services.search !== "serving") return trouble;
  const { code, afterS, wait } = trouble;
  const text = "Searching by product works meanwhile.";
  return new Trouble("The picture search is not available just now", text, { code, afterS, wait });
}
