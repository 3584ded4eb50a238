// What a view keeps of what was found, page by page.

import { known } from "/page/shop.js";

export const PAGE = 24;

// `more`: how the answer was asked for, if it is not the first page; `chosen`: the filters.
export function keep(view, answer, more, chosen) {
  const results = more?.cursor ? [...view.found.results, ...answer.results] : answer.results;
  view.found = { answer, results, next: next(answer), filters: JSON.stringify(chosen) };
  if (view.file) Object.assign(view, { boxes: answer.boxes, chosen: answer.chosen_box });
  if (answer.product) view.product = answer.product;
}

// How to ask for what comes after an answer, or null: by its cursor, or from a shop that has none by a larger page.
function next({ next_cursor: cursor, exhausted, results }) {
  if (cursor !== undefined) return cursor && { cursor };
  const k = Math.min(known.most, results.length + PAGE);
  return exhausted || k === results.length ? null : { k };
}
