// Numbers and times as the page writes them; the exact number stays in `data-value`.

export const at = (text) => Date.parse(text);
export const seconds = (text) => Math.floor(at(text) / 1000);
export const clock = (text) => new Date(text).toISOString().slice(11, 19);

/** Decimals that the given prices need, at most 6. */
export function decimalsOf(prices) {
  const shown = prices.filter((p) => p != null).map((p) => (String(p).split(".")[1] ?? "").length);
  return Math.min(6, Math.max(0, ...shown));
}

export const fixed = (value, decimals) =>
  value == null ? "–" : value.toLocaleString("en", { minimumFractionDigits: decimals, maximumFractionDigits: decimals });

export const percent = (value, decimals = 1) => (value == null ? "–" : `${fixed(100 * value, decimals)} %`);
export const signedPercent = (value) => (value == null ? "–" : `${value > 0 ? "+" : ""}${percent(value)}`);
export const basisPoints = (value) => (value == null ? "–" : `${fixed(1e4 * value, 1)} bp`);

export function ago(milliseconds) {
  const s = Math.max(0, milliseconds) / 1000;
  if (s < 10) return `${fixed(s, 1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

/** Writes text into an element and keeps the exact value beside it. */
export function put(element, text, value = null) {
  if (element.textContent !== text) element.textContent = text;
  if (value != null) element.dataset.value = value;
  else delete element.dataset.value;
}
