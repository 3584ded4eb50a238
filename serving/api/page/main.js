// One page, three kinds of view: a picture searched with (and the box chosen on it), a product, or words.

import * as alarm from "/page/alarm.js";
import * as api from "/page/api.js";
import * as explain from "/page/explain.js";
import * as filters from "/page/filters.js";
import * as intake from "/page/intake.js";
import { keep, PAGE } from "/page/paging.js";
import { prepare } from "/page/picture.js";
import * as shelf from "/page/shelf.js";
import * as shop from "/page/shop.js";

const $ = (id) => document.getElementById(id);

// What the browser's Back goes through: {file, url, box, boxes, chosen}, {productId, product} or {text}; each
// with what was found, and on leaving how far the page was scrolled and by which product.
const views = [];
let view = null;
let request = null;

const acts = { similar, why: (product) => explain.open(product, view, rankOf(product), similar) };

function say(text) {
  $("busy").textContent = text;
  document.body.classList.toggle("working", text !== "");
}

// Searches for the view's first page or, with `more`, for what comes after it. `stay` leaves what is shown
// until then; `note` is told with what is found.
async function search({ more = null, stay = more !== null, note = "" } = {}) {
  request?.abort();
  const { signal } = request = new AbortController();
  alarm.hide();
  shelf.stage(true);
  shelf.showQuery(view, chooseBox);
  shelf.showBusy(stay);
  say(view.file ? "Looking at the picture…" : view.text ? "Looking…" : "Looking for similar products…");
  const chosen = filters.chosen();
  try {
    const answer = await api.search(view, chosen, { k: PAGE, ...more }, signal);
    const from = more ? view.found.results.length : 0;
    keep(view, answer, more, chosen);
    show({ from, note });
    if (from < view.found.results.length && more) shelf.focusProduct(view.found.results[from].product_id);
  } catch (error) {
    if (error.name === "AbortError") return; // a newer search has taken over
    if (error.code === "moved" && more) {
      search({ stay: true, note: "the shop has changed meanwhile, so they are listed anew" });
      return;
    }
    await failed(error, more);
    if (signal.aborted) return;
  }
  say("");
  shelf.showIdle();
}

function show(how) {
  shelf.showQuery(view, chooseBox);
  shelf.showFound(view.found, acts, how);
  const { generation } = view.found.answer;
  if (shop.known.generation && shop.known.generation !== generation) lookIn(); // perhaps with new categories
}

async function failed(error, more) {
  if (!more) shelf.clear();
  if (!more && !(view.file ? view.boxes : view.product)) { // nothing to show
    shelf.stage(false);
    shelf.focusHeading();
  }
  const mine = request;
  const told = view.file ? await shop.withWhatWorks(error) : error;
  if (mine.signal.aborted) return;
  alarm.tell(told, () => {
    if (told.needsKey) lookIn();
    search({ more });
    shelf.focusHeading();
  });
}

function rankOf(product) {
  return view.found.results.findIndex(({ product_id: id }) => id === product.product_id);
}

function similar(product) {
  view.left = product.product_id;
  open({ productId: product.product_id, product: product.name === undefined ? null : product });
}

function chooseBox(box) {
  const { file, url, boxes } = view;
  open({ file, url, boxes, box, chosen: box });
}

// Makes `next` the view, with an entry in the browser's history, and searches.
function open(next) {
  const asked = next.productId ? { product: next.productId } : next.text ? { text: next.text } : {};
  const url = `/?${new URLSearchParams(asked)}`.replace(/\?$/, "");
  if (view) view.scrolled = scrollY;
  views.push(next);
  history.pushState({ view: views.length - 1 }, "", url);
  enter(next);
}

function enter(next) {
  const samePicture = view?.file && view.file === next.file;
  view = next;
  explain.close();
  if (view.found?.filters === JSON.stringify(filters.chosen())) return back();
  search(); // shows the results' place at once, so that the focus can go there
  if (samePicture) return;
  window.scrollTo({ top: 0 });
  shelf.focusHeading();
}

// To what was found before, as it was left.
function back() {
  request?.abort();
  say("");
  alarm.hide();
  shelf.stage(true);
  shelf.showIdle();
  show();
  window.scrollTo({ top: view.scrolled ?? 0 });
  if (view.left) shelf.focusProduct(view.left);
  else shelf.focusHeading();
}

async function take(file) {
  alarm.hide();
  say("Reading the picture…");
  try {
    const fit = await prepare(file, shop.known.mostBytes);
    open({ file: fit, url: URL.createObjectURL(fit), box: null });
  } catch (error) {
    say("");
    alarm.tell(error);
  }
}

function start() {
  request?.abort();
  view = null;
  say("");
  alarm.hide();
  explain.close();
  shelf.stage(false);
}

function restore(state) {
  const known = state && views[state.view];
  const asked = new URLSearchParams(location.search);
  const [productId, text] = [asked.get("product"), asked.get("text")];
  if (known) enter(known);
  else if (productId) enter({ productId });
  else if (text) enter({ text });
  else start();
}

function lookIn() {
  shop.lookIn((refused) => alarm.tell(refused, () => {
    alarm.hide();
    lookIn();
    if (view) search();
    shelf.focusHeading();
  }));
}

function listen() {
  intake.onPicture(take);
  intake.onWords(".words", (text) => open({ text }));
  intake.onWords("#number", (productId) => open({ productId }));
  filters.onChange(() => view && search({ stay: true }));
  $("skip").addEventListener("click", () => (view ? shelf.focusHeading() : $("start").querySelector(".pick").focus()));
  $("about").addEventListener("click", () => explain.open(view.product, null, 0, similar));
  $("more").addEventListener("click", () => search({ more: view.found.next }));
  addEventListener("popstate", (event) => restore(event.state));
  history.scrollRestoration = "manual"; // the page knows better when it is as long again
}

listen();
lookIn();
restore(history.state);
