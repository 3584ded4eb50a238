// The filters as the HTTP interface wants them. Prices are typed in whole units and sent in smallest ones.

import { element } from "/page/elements.js";
import { title, unitsOf } from "/page/format.js";

const form = document.querySelector("#filters");
const fold = document.querySelector("#fold");
const categories = document.querySelector("#categories");
const priceMin = document.querySelector("#price-min");
const priceMax = document.querySelector("#price-max");
const inStock = document.querySelector("#in-stock");
const clear = document.querySelector("#clear");
let offered = "";
let currency = null;

export function offerCategories(values) {
  if (offered === JSON.stringify(values)) return;
  offered = JSON.stringify(values);
  const chosen = new Set(chosenCategories());
  const pills = values.map((value) => {
    const pill = element("label", "pill");
    const box = element("input");
    box.type = "checkbox";
    box.value = value;
    box.checked = chosen.has(value);
    pill.append(box, element("span", "", title(value)));
    return pill;
  });
  categories.replaceChildren(categories.firstElementChild, ...pills);
}

// Prices can be compared once a product has shown which currency the shop sells in.
export function offerPrices(shopCurrency) {
  currency = shopCurrency;
  document.querySelector("#price-currency").textContent = shopCurrency;
}

function chosenCategories() {
  return [...categories.querySelectorAll("input:checked")].map((box) => box.value);
}

function units(input) {
  if (currency === null || input.value === "") return null;
  return Math.max(0, Math.round(Number(input.value) * unitsOf(currency)));
}

export function chosen() {
  let [least, most] = [units(priceMin), units(priceMax)];
  if (least !== null && most !== null && least > most) [least, most] = [most, least];
  const filters = { categories: chosenCategories(), in_stock_only: inStock.checked };
  if (least !== null) filters.price_min = least;
  if (most !== null) filters.price_max = most;
  const set = loosenings().length;
  clear.hidden = set === 1 && inStock.checked; // as at first
  fold.textContent = set ? `Filters (${set})` : "Filters";
  return filters;
}

// What is set, as ways to loosen it: {name, act}.
export function loosenings() {
  const priced = priceMin.value !== "" || priceMax.value !== "";
  return [
    { set: chosenCategories().length, name: "All categories", act: () => uncheck(categories) },
    { set: priced, name: "Any price", act: () => { priceMin.value = priceMax.value = ""; } },
    { set: inStock.checked, name: "Also what is out of stock", act: () => { inStock.checked = false; } },
  ].filter(({ set }) => set).map(({ name, act }) => ({ name, act: () => { act(); form.requestSubmit(); } }));
}

function uncheck(fieldset) {
  for (const box of fieldset.querySelectorAll("input")) box.checked = false;
}

export function onChange(act) {
  form.addEventListener("change", act);
  form.addEventListener("submit", (event) => { event.preventDefault(); act(); });
  form.addEventListener("reset", () => setTimeout(act)); // the fields are cleared after the event
  fold.addEventListener("click", () => {
    const open = form.classList.toggle("open");
    fold.setAttribute("aria-expanded", String(open));
  });
}
