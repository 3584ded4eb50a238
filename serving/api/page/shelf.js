// What is seen of a search: what was searched with, and the products found.

import { button, nameOf, picture } from "/page/elements.js";
import * as filters from "/page/filters.js";
import { count, price } from "/page/format.js";
import { showBoxes } from "/page/picture.js";
import { append, show, showWaiting } from "/page/results.js";

const $ = (id) => document.getElementById(id);

// The results' place, or the start.
export function stage(open) {
  $("start").hidden = open;
  $("found").hidden = $("another").hidden = !open;
  if (open) return;
  document.title = "Find it from a photograph";
  $("provenance").textContent = "";
}

// Something is on its way: grey cards, or with `stay` what is there, paler.
export function showBusy(stay) {
  $("found").setAttribute("aria-busy", "true");
  if (stay) return;
  showWaiting($("results"), 8);
  $("none").hidden = true;
  $("count").textContent = "";
}

export function showIdle() {
  $("found").removeAttribute("aria-busy");
}

export function clear() {
  $("results").replaceChildren();
  $("count").textContent = $("provenance").textContent = "";
  $("more").hidden = $("none").hidden = true;
}

export function showQuery({ file, url, boxes, chosen, text, product }, chooseBox) {
  $("picture").hidden = !file;
  $("product").hidden = !product;
  if (file) {
    if ($("picture-image").src !== url) $("picture-image").src = url;
    $("results-heading").textContent = "Found in the shop";
    $("choices").hidden = !boxes;
    showBoxes($("boxes"), $("choices"), boxes ?? [], chosen ?? null, chooseBox);
  } else if (text) {
    $("results-heading").textContent = `“${text}”`;
    for (const words of document.querySelectorAll(".words input")) words.value = text;
  } else {
    $("results-heading").textContent = "Similar products";
  }
  if (product) showProduct(product);
  const named = product ? `Similar to ${nameOf(product)}` : $("results-heading").textContent;
  document.title = `${named} · Find`;
}

function showProduct(product) {
  picture($("product-image"), product.image_url, nameOf(product));
  $("product-name").textContent = nameOf(product);
  $("product-facts").textContent = [
    product.brand, price(product.price, product.currency), product.in_stock ? "" : "out of stock",
  ].filter(Boolean).join(" · ");
}

// `found`: {answer, results, next}. With `from`, what comes after so many is put beside what is there, and has
// the focus. `acts`: what a card can do.
export function showFound({ answer, results, next }, acts, { from = 0, note = "" } = {}) {
  if (results.length) filters.offerPrices(results[0].currency);
  const list = $("results");
  const replaced = !from && list.contains(document.activeElement); // by someone faster than the answer
  if (from) append(list, results.slice(from), answer.collapse, acts);
  else show(list, results, answer.collapse, acts);
  if (replaced) focusHeading();
  $("count").textContent = [counted(results.length, answer.exhausted), note].filter(Boolean).join("; ");
  $("none").hidden = results.length > 0;
  if (!results.length) showNone();
  $("more").hidden = next === null;
  const took = `${Math.round(answer.timings_ms.total)} ms`;
  $("provenance").textContent = `Answered from generation ${answer.generation} in ${took}.`;
}

// The pages of a search end, at the latest after so many products; not with the shop then.
function counted(number, exhausted) {
  if (number && !exhausted) return `The ${count(number)} most alike`;
  return number === 1 ? "1 product, all there is" : number ? `${count(number)} products, all there are` : "No products";
}

function showNone() {
  const ways = filters.loosenings();
  $("none-text").textContent = ways.length
    ? "Nothing in the shop fits these filters. Loosen one of them:"
    : "There is nothing like it in the shop. Try another picture.";
  $("loosen").replaceChildren(...ways.map(({ name, act }) => button("button plain", name, () => {
    act();
    focusHeading(); // this button is about to go
  })));
}

// Where a reader goes on when what had the focus is gone.
export function focusHeading() {
  $($("found").hidden ? "start-heading" : "results-heading").focus({ preventScroll: true });
}

export function focusProduct(productId) {
  $("results").querySelector(`[data-product-id="${CSS.escape(productId)}"]`)?.focus({ preventScroll: true });
}
