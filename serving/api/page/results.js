// Products as cards; a click on one searches for more like it.

import * as api from "/page/api.js";
import { percent, price, title } from "/page/format.js";

function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// A picture from the catalogue's own host; only http(s), and a quiet stand-in when it does not load.
export function picture(image, url, alternative) {
  image.alt = alternative;
  image.referrerPolicy = "no-referrer";
  image.onerror = () => image.classList.add("missing");
  image.classList.remove("missing");
  if (/^https?:\/\//i.test(url)) image.src = url;
  else image.classList.add("missing");
}

const LIKE = { variant: "in other colours", picture: "with the same picture" };

function facts(product) {
  return [product.name || title(product.category), product.colour, price(product.price, product.currency)];
}

// "+3 with the same picture": opened, what the group's other products are, each a way to those like it.
function others(product, collapse, similar) {
  const more = element("details", "also");
  const line = element("summary", "", `+${product.also.length} ${LIKE[collapse] ?? "alike"}`);
  line.append(element("span", "hidden", `: ${product.name || title(product.category)}`));
  const list = element("ul");
  const links = product.also.map((id) => {
    const link = element("a", "", id);
    link.href = `/?product=${encodeURIComponent(id)}`;
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in a tab of its own
      event.preventDefault();
      similar({ product_id: id });
    });
    const place = element("li");
    place.append(link);
    list.append(place);
    return link;
  });
  more.append(line, list);
  more.addEventListener("toggle", () => {
    product.also.forEach((id, index) => api.product(id).then(
      (found) => { links[index].textContent = facts(found).filter(Boolean).join(" · "); },
      () => {}, // its number still leads to it
    ));
  }, { once: true });
  return more;
}

function card(product, collapse, similar) {
  const item = element("li", "card");
  const button = element("button", "card-button");
  button.type = "button";
  button.dataset.productId = product.product_id;
  button.addEventListener("click", () => similar(product));

  const shown = element("span", "card-picture");
  const image = element("img");
  image.loading = "lazy";
  picture(image, product.image_url, "");
  shown.append(image);
  if (!product.in_stock) shown.append(element("span", "tag", "Out of stock"));

  const words = element("span", "card-words");
  words.append(
    element("span", "card-brand", product.brand),
    element("span", "card-name", product.name || title(product.category)),
    element("span", "card-price", price(product.price, product.currency)),
  );
  const alike = element("span", "card-score", percent(product.score));
  alike.title = "How much it looks alike";
  const spoken = element("span", "hidden", " alike. Show similar products.");
  words.append(alike, spoken);
  button.append(shown, words);
  item.append(button);
  if (product.also.length) item.append(others(product, collapse, similar));
  return item;
}

export function show(list, products, collapse, similar) {
  list.replaceChildren(...products.map((product) => card(product, collapse, similar)));
}

// Grey cards in the places where products will be.
export function showWaiting(list, number) {
  const cards = Array.from({ length: number }, () => {
    const item = element("li", "card waiting");
    item.setAttribute("aria-hidden", "true");
    item.append(element("span", "card-picture"), element("span", "line"), element("span", "line short"));
    return item;
  });
  list.replaceChildren(...cards);
}
