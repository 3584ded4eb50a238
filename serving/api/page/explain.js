// Why a product is here, in pictures: what was searched with beside what matched, and what the index holds of it.

import * as api from "/page/api.js";
import { button, element, nameOf, picture, place, ways, WHOLE } from "/page/elements.js";
import { ago, alikeness, percent, price } from "/page/format.js";

const sheet = document.getElementById("why");
sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); }); // beside it

export function close() {
  sheet.close();
}

// Opens on `product`. `view` and `rank` (0 for the first) say what it was found by, null for nothing: then the
// sheet is about the product alone. What is at hand is shown at once, the rest when the shop has told it.
export function open(product, view, rank, similar) {
  const go = (next) => { sheet.close(); similar(next); };
  const asked = view ? compared(product, view, rank) : null;
  const known = element("div", "known");
  known.append(element("p", "quiet", "Looking it up…"));
  sheet.replaceChildren(head(product), ...(asked ? [asked] : []), known, ...(asked ? [foot(product, go)] : []));
  sheet.scrollTop = 0;
  sheet.showModal();
  api.explain(product.product_id, view?.productId).then((told) => {
    if (!known.isConnected) return; // another product's turn
    const { match } = told;
    if (match && asked) {
      asked.querySelector(".part").replaceWith(part(match.of_image_url, match.of_box, "The part searched with"));
    }
    sheet.querySelector(".facts").textContent = facts(told.product ?? product);
    known.replaceChildren(...held(told, asked && (match?.image_url ?? product.image_url), go));
  }, (error) => known.replaceChildren(element("p", "quiet", `More cannot be told just now: ${error.title}.`)));
}

function head(product) {
  const top = element("div", "why-top");
  const name = element("h2", "", nameOf(product));
  name.id = "why-title";
  name.tabIndex = -1;
  name.autofocus = true;
  const shut = button("shut", "×", close);
  shut.setAttribute("aria-label", "Close");
  top.append(name, shut, element("p", "facts quiet", facts(product)));
  return top;
}

function facts(product) {
  const stock = product.in_stock ? "in stock" : "out of stock";
  return [product.brand, price(product.price, product.currency), stock].filter(Boolean).join(" · ");
}

function compared(product, view, rank) {
  const pair = element("div", "pair");
  const said = view.text ? "Fits the words" : alikeness(product.score);
  const standing = rank === 0 ? "The best of what was found." : `Number ${rank + 1} of what was found.`;
  const verdict = element("p", "verdict");
  verdict.append(element("strong", "", percent(product.score)), ` ${said}. ${standing}`);
  const mine = view.text
    ? element("blockquote", "words-asked", view.text)
    : part(view.url ?? view.product.image_url, view.chosen, "The part searched with");
  pair.append(
    captioned(mine, view.text ? "Your words" : view.file ? "Your picture" : nameOf(view.product)),
    captioned(part(product.image_url, product.box, "The part that matched"), "What matched"),
    verdict,
  );
  return pair;
}

function captioned(shown, words) {
  const figure = element("figure");
  figure.append(shown, element("figcaption", "quiet small", words));
  return figure;
}

// A part of a picture alone; `box` null: all of it.
function part(url, box, name) {
  const canvas = element("canvas", "part");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", name);
  const { x0, y0, x1, y1 } = box ?? WHOLE;
  const image = element("img");
  image.onload = () => {
    const [width, height] = [image.naturalWidth, image.naturalHeight];
    canvas.width = Math.max(1, Math.round((x1 - x0) * width));
    canvas.height = Math.max(1, Math.round((y1 - y0) * height));
    canvas.getContext("2d").drawImage(image, -x0 * width, -y0 * height, width, height);
  };
  picture(image, url, "");
  return canvas;
}

// What the index holds of it: its pictures with their parts, its family, and the versions for those who ask.
function held({ pictures = [], variants = [], same_picture: twins = [], generation, created_at: madeAt, models }, matched, go) {
  const shelf = element("ul", "indexed");
  shelf.append(...pictures.map((one) => indexed(one, one.image_url === matched)));
  const asked = element("details", "asked");
  asked.append(element("summary", "", "For those who ask"), table([
    ["Generation", generation],
    ["Made", madeAt && ago(madeAt)],
    ["Detector", models?.detector],
    ["Embedder", models?.embedder],
  ]));
  return [
    ...section("Its pictures in the search", pictures, shelf),
    ...section("In other colours", variants, ways(variants, go)),
    ...section("With the same picture", twins, ways(twins, go)),
    asked,
  ];
}

function section(name, items, content) {
  return items.length ? [element("h3", "", name), content] : [];
}

function indexed({ image_url: url, parts }, matched) {
  const frame = element("div", "frame");
  const image = element("img");
  picture(image, url, parts.some(({ box }) => box) ? "A picture of it, with the parts that are searched" : "A picture of it");
  frame.append(image, ...parts.map(({ box }) => {
    const mark = element("span", box ? "mark-part" : "mark-part whole");
    place(mark, box ?? WHOLE);
    return mark;
  }));
  const item = element("li", matched ? "matched" : "");
  item.append(frame);
  if (matched) item.append(element("span", "small quiet", "This one matched"));
  return item;
}

function table(rows) {
  const list = element("dl");
  for (const [name, value] of rows) if (value) list.append(element("dt", "", name), element("dd", "", value));
  return list;
}

function foot(product, go) {
  const bottom = element("div");
  bottom.append(button("button", "Show similar products", () => go(product)));
  return bottom;
}
