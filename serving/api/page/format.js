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

export function title(word) {
  return word ? word[0].toUpperCase() + word.slice(1) : word;
}
