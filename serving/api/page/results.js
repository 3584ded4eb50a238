// Products as cards: a click on one searches for more like it, one on its score tells why it is here.

import { button, element, nameOf, picture, ways } from "/page/elements.js";
import { percent, price } from "/page/format.js";

const LIKE = { variant: "in other colours", picture: "with the same picture" };

// "+3 with the same picture": opened, what the group's other products are, each a way to those like it.
function others(product, collapse, similar) {
  const more = element("details", "also");
  const line = element("summary", "", `+${product.also.length} ${LIKE[collapse] ?? "alike"}`);
  line.append(element("span", "hidden", `: ${nameOf(product)}`));
  more.append(line);
  more.addEventListener("toggle", () => more.append(ways(product.also, similar)), { once: true });
  return more;
}

function card(product, collapse, { similar, why }) {
  const item = element("li", "card");
  const opener = button("card-button", "", () => similar(product));
  opener.dataset.productId = product.product_id;

  const shown = element("span", "card-picture");
  const image = element("img");
  image.loading = "lazy";
  picture(image, product.image_url, "");
  shown.append(image);
  if (!product.in_stock) shown.append(element("span", "tag", "Out of stock"));

  const words = element("span", "card-words");
  words.append(
    element("span", "card-brand", product.brand),
    element("span", "card-name", nameOf(product)),
    element("span", "card-price", price(product.price, product.currency)),
    element("span", "hidden", "Show similar products."),
  );
  opener.append(shown, words);

  const score = button("why quiet", `${percent(product.score)} · why?`, () => why(product));
  score.append(element("span", "hidden", ` ${nameOf(product)}`));
  const both = element("div", "card-both");
  both.append(opener, score);
  item.append(both);
  if (product.also.length) item.append(others(product, collapse, similar));
  return item;
}

export function show(list, products, collapse, acts) {
  list.replaceChildren();
  append(list, products, collapse, acts);
}

// Returns the first of them.
export function append(list, products, collapse, acts) {
  const cards = products.map((product) => card(product, collapse, acts));
  list.append(...cards);
  return cards[0];
}

// Grey cards in the places where products will be.
export function showWaiting(list, number) {
  const cards = Array.from({ length: number }, () => {
    const item = element("li", "card waiting");
    item.setAttribute("aria-hidden", "true");
    item.append(element("span", "card-picture"), element("span", "line-of-text"), element("span", "line-of-text short"));
    return item;
  });
  list.replaceChildren(...cards);
}
