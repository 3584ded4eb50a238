// Small pieces of page that several parts are made of.

import * as api from "/page/api.js";
import { price, title } from "/page/format.js";

export function element(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

export function button(className, text, act) {
  const node = element("button", className, text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

export function nameOf(product) {
  return product.name || title(product.category);
}

// A picture from the catalogue's own host, or the shopper's; a quiet stand-in when it does not load.
export function picture(image, url, alternative) {
  image.alt = alternative;
  image.referrerPolicy = "no-referrer";
  image.onerror = () => image.classList.add("missing");
  image.classList.remove("missing");
  if (/^(https?|blob):/i.test(url)) image.src = url;
  else image.classList.add("missing");
}

export const WHOLE = { x0: 0, y0: 0, x1: 1, y1: 1 };

// Lays `mark` over a frame where `box` is on the picture in it.
export function place(mark, box) {
  mark.style.left = `${box.x0 * 100}%`;
  mark.style.top = `${box.y0 * 100}%`;
  mark.style.width = `${(box.x1 - box.x0) * 100}%`;
  mark.style.height = `${(box.y1 - box.y0) * 100}%`;
}

// A list of ways to products of which only the ids are known: each says what it is once it has been asked.
export function ways(ids, similar) {
  const list = element("ul", "ways");
  for (const id of ids) {
    const link = element("a", "", id);
    link.href = `/?${new URLSearchParams({ product: id })}`;
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // in a tab of its own
      event.preventDefault();
      similar({ product_id: id });
    });
    const item = element("li");
    item.append(link);
    list.append(item);
    api.product(id).then((found) => {
      const facts = [nameOf(found), found.colour, price(found.price, found.currency)];
      link.textContent = facts.filter(Boolean).join(" · ");
    }, () => {}); // its number still leads to it
  }
  return list;
}
