// What a view keeps of what was found, page by page.

export const PAGE = 24;

// `more`: how the answer was asked for, if it is not the first page; `chosen`: the filters.
export function keep(view, answer, more, chosen) {
  const results = more ? [...view.found.results, ...answer.results] : answer.results;
  const { next_cursor: cursor } = answer; // null behind the last page
  view.found = { answer, results, next: cursor && { cursor }, filters: JSON.stringify(chosen) };
  if (view.file) Object.assign(view, { boxes: answer.boxes, chosen: answer.chosen_box });
  if (answer.product) view.product = answer.product;
}
