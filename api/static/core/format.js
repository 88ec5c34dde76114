// Numbers as they are shown.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const parts = new Intl.NumberFormat("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const percents = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });
const significant = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** @param {number} n */
export const count = (n) => whole.format(n);
/** @param {number} n */
export const rows = (n) => `${whole.format(n)} ${Math.round(n) === 1 ? "row" : "rows"}`;
/** @param {number} share */
export const percent = (share) => (share > 0 && share < 0.0995 ? tenths : percents).format(share);
/** @param {number} value */
export const hundredths = (value) => parts.format(value);
/** @param {number} weight */
export const times = (weight) => `×${significant.format(weight)}`;
/** @param {number} bytes */
export const size = (bytes) => (bytes < 1e6 ? `${significant.format(Math.max(1, bytes / 1e3))} kB` : `${significant.format(bytes / 1e6)} MB`);
