// Numbers as a shopper reads them.

const prices = new Map();

function priceFormat(currency) {
  if (!prices.has(currency)) {
    let format;
    try {
      format = new Intl.NumberFormat(undefined, { style: "currency", currency });
    } catch { // no ISO 4217 code: the number with what the catalogue calls it
      const plain = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
      format = {
        format: (value) => `${plain.format(value)} ${currency}`.trim(),
        resolvedOptions: () => plain.resolvedOptions(),
      };
    }
    prices.set(currency, format);
  }
  return prices.get(currency);
}

// How many of a currency's smallest unit make one: 100 for the euro, 1 for the yen.
export function unitsOf(currency) {
  return 10 ** priceFormat(currency).resolvedOptions().maximumFractionDigits;
}

export function price(units, currency) {
  return priceFormat(currency).format(units / unitsOf(currency));
}

export function percent(fraction) {
  return new Intl.NumberFormat(undefined, { style: "percent" }).format(Math.max(0, fraction));
}

export function count(number) {
  return new Intl.NumberFormat().format(number);
}

// How much a cosine of two looks says, in words.
export function alikeness(score) {
  if (score >= 0.85) return "Almost the same";
  if (score >= 0.6) return "Very much alike";
  if (score >= 0.35) return "Alike";
  return score >= 0.15 ? "A little alike" : "Hardly alike";
}

const SPANS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

// When something was, `unixS` seconds since 1970: "3 minutes ago".
export function ago(unixS) {
  const pastS = Math.max(0, Date.now() / 1000 - unixS);
  const [unit, lengthS] = SPANS.find(([, seconds]) => pastS >= seconds) ?? SPANS.at(-1);
  return new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(-Math.floor(pastS / lengthS), unit);
}

export function title(word) {
  return word ? word[0].toUpperCase() + word.slice(1) : word;
}
