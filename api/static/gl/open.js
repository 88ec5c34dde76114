// The ground's drawing: with WebGL2, or from above where that is missing.

import { Ground } from "./ground.js";
import { PlainGround } from "./plain.js";

/** @typedef {Ground | PlainGround} AnyGround */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {number} n points along each side
 * @param {boolean} wantsPlain
 * @returns {AnyGround}
 */
export function openGround(canvas, n, wantsPlain) {
  const isSlow = isSoftware();
  const options = { antialias: !isSlow, alpha: false, powerPreference: "high-performance" };
  const gl = wantsPlain ? null : /** @type {WebGL2RenderingContext | null} */ (canvas.getContext("webgl2", options));
  return gl ? new Ground(canvas, gl, n, isSlow) : new PlainGround(canvas, n);
}

/** Does the processor do the drawing? Samples for smooth edges would double its work. */
function isSoftware() {
  const gl = document.createElement("canvas").getContext("webgl2"), info = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = gl && info ? String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL)) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return /swiftshader|llvmpipe|software/i.test(name);
}
