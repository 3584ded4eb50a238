// What can go wrong, as something to say to a person.

export class Trouble extends Error {
  // `code`: the API's, or our own; `afterS`: when it makes sense to try again, which `wait` says in words.
  constructor(title, text, { code = "", retry = true, afterS = 0, wait = "", requestId = null } = {}) {
    super(text);
    Object.assign(this, { title, code, retry, afterS, wait, requestId });
  }

  get needsKey() {
    return this.code === "key";
  }
}

export const unreachable = () => new Trouble(
  "The shop cannot be reached", "Check the connection, then try again.", { code: "unreachable" },
);

export const tooLarge = (mostBytes) => new Trouble(
  "This picture is too large", `At most ${megabytes(mostBytes)} can be sent. Choose a smaller one.`, { retry: false },
);

export const noPicture = () => new Trouble(
  "This is not a picture", "Choose a photograph: a JPEG, PNG or WebP file.", { retry: false },
);

// What to say: a title, a text and whether to try again; without a text it is said when.
const byCode = {
  bad_image: ({ message }) => ["This picture cannot be used", sentence(message), false],
  bad_input: ({ message }) => ["This search cannot be made", sentence(message), false],
  not_found: () => ["It is not in the shop", "Perhaps it is no longer sold. Search with a picture instead.", false],
  overloaded: () => ["Many people are searching", "", true],
  unavailable: () => ["The search is not available just now", "", true],
  text_search_off: () => ["Words are not understood here", "Please search with a picture.", false],
  model_mismatch: () => ["The shop is being updated", "", true],
  deadline_passed: () => ["This took too long", "Please try again.", true],
};

const byStatus = {
  409: () => ["The shop has changed meanwhile", "Please search again.", true],
  413: () => ["This picture is too large", "Choose a smaller one.", false],
  429: () => ["Too many searches in a short time", "", true],
  502: byCode.unavailable,
  503: byCode.unavailable,
  504: byCode.deadline_passed,
};

// Of an answer that is none: `error` is what its body says, if it says something.
export function troubleOf(status, error, afterS, hadKey) {
  if (status === 401 || status === 403) return keyTrouble(hadKey);
  const say = byCode[error?.code] ?? byStatus[status];
  if (!say) {
    const requestId = error?.request_id ?? null;
    return new Trouble("Something went wrong", "It is not your picture. Please try again.", { requestId });
  }
  const [title, text, retry] = say({ message: error?.message ?? "" });
  const wait = text ? "" : again(afterS);
  return new Trouble(title, text, { code: status === 409 ? "moved" : error?.code, retry, afterS, wait });
}

function keyTrouble(hadKey) {
  return hadKey
    ? new Trouble("This key is not accepted", "Check it, or paste another one.", { code: "key" })
    : new Trouble("This shop’s search needs a key", "Paste the one you were given. This tab alone remembers it.", { code: "key" });
}

function again(afterS) {
  if (afterS <= 1) return "Please try again in a moment.";
  if (afterS < 90) return `Please try again in ${afterS} seconds.`;
  return `Please try again in ${Math.ceil(afterS / 60)} minutes.`;
}

function megabytes(bytes) {
  return new Intl.NumberFormat(undefined, { style: "unit", unit: "megabyte", maximumFractionDigits: 1 }).format(bytes / 2 ** 20);
}

function sentence(message) {
  const text = message.trim() || "The shop does not say why";
  return text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
}
