// The visible part of the map: a center in map units, and a scale in CSS pixels per unit.

export class View {
  constructor() { this.x = 0; this.y = 0; this.scale = 1; this.home = 1; this.width = 1; this.height = 1; }

  resize(width, height) { this.width = width; this.height = height; }

  // Shows all of `bounds` in the area that the panels leave free (`clear`: pixels on each side).
  fit([left, bottom, right, top], clear) {
    const w = Math.max(80, this.width - clear.left - clear.right), h = Math.max(80, this.height - clear.top - clear.bottom);
    this.scale = this.home = Math.min(w / Math.max(right - left, 1e-6), h / Math.max(top - bottom, 1e-6), 1e6);
    this.x = (left + right) / 2 - (clear.left - clear.right) / 2 / this.scale;
    this.y = (bottom + top) / 2 - (clear.bottom - clear.top) / 2 / this.scale;
  }

  toScreen(x, y) { return [(x - this.x) * this.scale + this.width / 2, this.height / 2 - (y - this.y) * this.scale]; }
  toMap(px, py) { return [this.x + (px - this.width / 2) / this.scale, this.y - (py - this.height / 2) / this.scale]; }

  move(dx, dy) { this.x -= dx / this.scale; this.y += dy / this.scale; }

  // Zooms around a pixel: the map position under it stays the same.
  zoom(factor, px, py) {
    const [x, y] = this.toMap(px, py);
    this.scale = Math.max(this.home / 4, Math.min(this.home * 4000, this.scale * factor));
    this.x = x - (px - this.width / 2) / this.scale;
    this.y = y + (py - this.height / 2) / this.scale;
  }

  // Centers the view on a position, unless it is visible already.
  show(x, y, clear) {
    const [px, py] = this.toScreen(x, y);
    const inside = px > clear.left && px < this.width - clear.right && py > clear.top && py < this.height - clear.bottom;
    if (inside) return;
    this.x = x - (clear.left - clear.right) / 2 / this.scale;
    this.y = y - (clear.bottom - clear.top) / 2 / this.scale;
  }

  get magnification() { return this.scale / this.home; }
}
