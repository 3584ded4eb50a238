// One page, three kinds of view: a picture searched with (and the box chosen on it), a product, or words.

import * as api from "/page/api.js";
import * as filters from "/page/filters.js";
import { count, price, title } from "/page/format.js";
import { prepare, showBoxes } from "/page/picture.js";
import { picture, show, showWaiting } from "/page/results.js";

const $ = (id) => document.getElementById(id);
const PAGE = 24;
const LOOK_AGAIN_MS = 3000;

const views = []; // what the browser's Back goes through: {file, url, box, boxes}, {productId} or {text}
let view = null;
let k = PAGE;
let most = 100;
let request = null;
let productNow = null;
let generation = null;

function say(text) {
  $("busy").textContent = text;
  document.body.classList.toggle("working", text !== "");
}

function showTrouble(trouble) {
  $("trouble-title").textContent = trouble.title;
  $("trouble-text").textContent = trouble.message;
  $("trouble-again").hidden = !(trouble.retry && view);
  $("trouble-id").textContent = trouble.requestId ? `If it happens again, mention ${trouble.requestId}.` : "";
  $("trouble").hidden = false;
}

function asTrouble(error) {
  if (error instanceof api.Trouble) return error;
  console.error(error);
  return new api.Trouble("Something went wrong", "Please try again.");
}

async function search({ keep = false } = {}) {
  request?.abort();
  const mine = request = new AbortController();
  $("trouble").hidden = true;
  $("start").hidden = true;
  $("found").hidden = false;
  $("found").setAttribute("aria-busy", "true");
  say(view.file ? "Looking at the picture…" : view.text ? "Looking…" : "Looking for similar products…");
  showQuery();
  if (!keep) showWaiting($("results"), 8);
  try {
    const chosen = filters.chosen();
    showAnswer(await ask(view, chosen, mine.signal));
    say("");
  } catch (error) {
    if (error.name === "AbortError") return; // a newer search has taken over
    say("");
    $("results").replaceChildren();
    $("count").textContent = "";
    $("more").hidden = true;
    const nothingToShow = view.text ? true : view.file ? !view.boxes : !productNow;
    $("found").hidden = nothingToShow;
    $("start").hidden = !nothingToShow;
    showTrouble(asTrouble(error));
  }
  $("found").removeAttribute("aria-busy");
}

function ask({ file, box, text, productId }, chosen, signal) {
  if (file) return api.searchPicture(file, box, chosen, k, signal);
  if (text) return api.searchText(text, chosen, k, signal);
  return api.searchProduct(productId, chosen, k, signal);
}

function showQuery() {
  $("picture").hidden = !view.file;
  $("product").hidden = Boolean(view.file) || !productNow;
  if (view.file) {
    $("picture-image").src = view.url;
    $("results-heading").textContent = "Found in the shop";
    showBoxes($("boxes"), $("choices"), view.boxes ?? [], view.chosen ?? null, chooseBox);
    $("choices").hidden = !view.boxes;
  } else if (view.text) {
    $("results-heading").textContent = `“${view.text}”`;
    for (const words of document.querySelectorAll(".words input")) words.value = view.text;
  } else {
    $("results-heading").textContent = "Similar products";
  }
}

function showAnswer(answer) {
  const { results } = answer;
  if (view.file) {
    view.boxes = answer.boxes;
    view.chosen = answer.chosen_box;
    showQuery();
  } else if (answer.product) {
    showProduct(answer.product);
  }
  if (results.length) filters.offerPrices(results[0].currency);
  show($("results"), results, answer.collapse, (product) => {
    open({ productId: product.product_id }, product.image_url ? product : null);
  });
  const products = results.length === 1 ? "1 product" : `${count(results.length)} products`;
  $("count").textContent = results.length && answer.exhausted ? `${products}, all there are` : products;
  $("none").hidden = results.length > 0;
  $("more").hidden = answer.exhausted || results.length < k || k >= most;
  const took = `${Math.round(answer.timings_ms.total)} ms`;
  $("provenance").textContent = `Answered from generation ${answer.generation} in ${took}.`;
  if (generation !== null && generation !== answer.generation) lookIn(); // new products, perhaps categories
}

function showProduct(product) {
  productNow = product;
  picture($("product-image"), product.image_url, product.name);
  $("product-name").textContent = product.name || title(product.category);
  $("product-facts").textContent = [product.brand, price(product.price, product.currency)].filter(Boolean).join(" · ");
  $("product").hidden = false;
}

function chooseBox(box) {
  open({ ...view, box, chosen: box });
}

// Makes `next` the view, with an entry in the browser's history, and searches.
function open(next, product = null) {
  const asked = next.productId ? { product: next.productId } : next.text ? { text: next.text } : {};
  const url = `/?${new URLSearchParams(asked)}`.replace(/\?$/, "");
  views.push(next);
  history.pushState({ view: views.length - 1 }, "", url);
  enter(next, product);
}

function enter(next, product = null) {
  const samePicture = view?.file && view.file === next.file;
  view = next;
  k = PAGE;
  productNow = null;
  if (product) showProduct(product);
  search(); // shows the results' place at once, so that the focus can go there
  if (!samePicture) {
    window.scrollTo({ top: 0 });
    $("results-heading").focus({ preventScroll: true });
  }
}

async function take(file) {
  if (!file) return;
  $("trouble").hidden = true;
  say("Reading the picture…");
  try {
    const fit = await prepare(file);
    open({ file: fit, url: URL.createObjectURL(fit), box: null });
  } catch (error) {
    clear(); // what is shown is of another picture
    showTrouble(asTrouble(error));
  }
}

function clear() {
  request?.abort();
  view = null;
  say("");
  $("trouble").hidden = true;
  $("found").hidden = true;
  $("start").hidden = false;
}

function restore(state) {
  const known = state && views[state.view];
  const asked = new URLSearchParams(location.search);
  const [productId, text] = [asked.get("product"), asked.get("text")];
  if (known || productId || text) {
    enter(known || (productId ? { productId } : { text }));
    return;
  }
  clear();
}

function listen() {
  for (const button of document.querySelectorAll(".pick")) {
    button.addEventListener("click", () => $("file").click());
  }
  $("file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = ""; // so that the same file can be chosen again
  });
  for (const words of document.querySelectorAll(".words")) {
    words.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = words.querySelector("input").value.trim();
      if (text) open({ text });
    });
  }
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])].find((item) => item.type.startsWith("image/"));
    if (file) take(file);
  });
  let over = 0; // dragenter and dragleave come for every element passed
  addEventListener("dragenter", () => document.body.classList.toggle("dragging", ++over > 0));
  addEventListener("dragleave", () => document.body.classList.toggle("dragging", --over > 0));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    over = 0;
    document.body.classList.remove("dragging");
    take(event.dataTransfer.files[0]);
  });
  addEventListener("popstate", (event) => restore(event.state));
  filters.onChange(() => {
    k = PAGE;
    if (view) search({ keep: true });
  });
  $("more").addEventListener("click", () => {
    k = Math.min(most, k + PAGE);
    search({ keep: true });
  });
  $("trouble-again").addEventListener("click", () => search());
}

const notices = {
  empty: "The shelves are still being filled: products appear here as soon as the first catalogue is indexed.",
  starting: "The shop is just opening. This takes a few seconds.",
  unreachable: "The shop does not answer just now. Trying again…",
};

// Says how the shop is, and looks again until it is open.
async function lookIn() {
  const shop = await api.status().catch(() => ({ state: "unreachable" }));
  document.body.dataset.shop = shop.state;
  $("notice").textContent = notices[shop.state] ?? "";
  $("notice").hidden = shop.state === "ready";
  if (shop.state !== "unreachable") {
    generation = shop.generation;
    most = shop.max_k;
    filters.offerCategories(shop.values.categories);
    for (const words of document.querySelectorAll(".words")) words.hidden = !shop.text_search;
    $("shop").textContent = shop.products ? `${count(shop.products)} products` : "";
    if (!view && shop.generation) $("provenance").textContent = `Generation ${shop.generation}.`;
  }
  if (shop.state !== "ready") setTimeout(lookIn, LOOK_AGAIN_MS);
}

listen();
lookIn();
restore(history.state);
