// Colours that can be distinguished on a light and on a dark background.

const byType = {
  system: [128, 134, 144], user: [47, 112, 224], assistant: [34, 160, 107], reasoning: [143, 98, 222],
  tool_call: [232, 150, 30], tool_result: [18, 160, 180], error: [224, 58, 62], summary: [214, 84, 160], span: [88, 104, 200],
};
const series = [
  [47, 112, 224], [232, 150, 30], [34, 160, 107], [214, 84, 160], [18, 160, 180], [143, 98, 222],
  [196, 120, 70], [124, 168, 40], [224, 88, 70], [88, 104, 200], [170, 140, 30], [100, 130, 150],
];
const rampStops = [[62, 40, 120], [58, 92, 166], [32, 144, 140], [110, 186, 80], [245, 205, 50]];
export const other = [140, 144, 150];

export function colourOf(mode, name, index) {
  if (name === null || name === "other" || (mode === "topic" && name === "no topic")) return other;
  if (mode === "type" && byType[name]) return byType[name];
  return series[index % series.length];
}

// Colour of a time: `at` is its position (0 … 1) in the time range of the map.
export function ramp(at) {
  const stop = Math.min(0.9999, Math.max(0, at)) * (rampStops.length - 1);
  const from = rampStops[Math.floor(stop)], to = rampStops[Math.floor(stop) + 1], share = stop % 1;
  return from.map((value, i) => Math.round(value + (to[i] - value) * share));
}

export const css = (rgb, alpha = 1) => `rgb(${rgb[0]} ${rgb[1]} ${rgb[2]} / ${alpha})`;
