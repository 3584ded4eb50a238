// The filters as the HTTP interface wants them. Prices are typed in whole units and sent in smallest ones.

import { title, unitsOf } from "/page/format.js";

const form = document.querySelector("#filters");
const categories = document.querySelector("#categories");
const priceMin = document.querySelector("#price-min");
const priceMax = document.querySelector("#price-max");
const inStock = document.querySelector("#in-stock");
const clear = document.querySelector("#clear");
let currency = null;

export function offerCategories(values) {
  const chosen = new Set(chosenCategories());
  const pills = values.map((value) => {
    const pill = document.createElement("label");
    pill.className = "pill";
    const box = document.createElement("input");
    box.type = "checkbox";
    box.value = value;
    box.checked = chosen.has(value);
    const word = document.createElement("span");
    word.textContent = title(value);
    pill.append(box, word);
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
  clear.hidden = !filters.categories.length && inStock.checked && least === null && most === null;
  return filters;
}

export function onChange(act) {
  form.addEventListener("change", act);
  form.addEventListener("submit", (event) => { event.preventDefault(); act(); });
  form.addEventListener("reset", () => setTimeout(act)); // the fields are cleared after the event
}
