// Where hills are drawn: on the server's terrain those of similar topics may lie on each other, and nobody could tell them apart or grasp them.

/** @typedef {{readonly x: number, readonly z: number, readonly radius: number}} Place */

const rounds = 120;
const farthest = 0.36; // to which any two are pushed apart
const foot = 2.3; // radii: so far from the edge of the ground a hill stands
const narrow = 0.26, wide = 0.4, widest = 0.15; // radii: shares of the way to the nearest hill; units of the ground

/**
 * The places on the ground, pushed apart where they are too close, with radii at which neighbours hardly add to a peak. Who is whose
 * neighbour stays, and the same hills always get the same places.
 * @param {readonly Place[]} places
 * @returns {Place[]}
 */
export function spread(places) {
  const at = places.map(({ x, z }, i) => ({ x: x + 1e-4 * Math.cos(i * 2.4), z: z + 1e-4 * Math.sin(i * 2.4) })); // none on another
  const apart = Math.min(farthest, 1.26 / Math.sqrt(Math.max(1, places.length)));
  const edge = 1 - foot * Math.min(widest, wide * apart);
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < at.length; i++) for (let k = 0; k < i; k++) push(at[i], at[k], apart);
    for (const one of at) [one.x, one.z] = [Math.max(-edge, Math.min(edge, one.x)), Math.max(-edge, Math.min(edge, one.z))];
  }
  return at.map(({ x, z }, i) => {
    const nearest = Math.min(2 * widest, ...at.map((other, k) => (k === i ? 9 : Math.hypot(other.x - x, other.z - z))));
    const free = (1 - Math.max(Math.abs(x), Math.abs(z))) / foot;
    return { x, z, radius: Math.min(free, Math.max(narrow * nearest, Math.min(wide * nearest, widest, places[i].radius))) };
  });
}

/**
 * @param {{x: number, z: number}} a
 * @param {{x: number, z: number}} b
 * @param {number} apart
 */
function push(a, b, apart) {
  const dx = a.x - b.x, dz = a.z - b.z, way = Math.hypot(dx, dz);
  if (way >= apart || way === 0) return;
  const step = (0.25 * (apart - way)) / way;
  a.x += dx * step;
  a.z += dz * step;
  b.x -= dx * step;
  b.z -= dz * step;
}
