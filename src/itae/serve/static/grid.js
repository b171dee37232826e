// A grid of tiles of one size, of which only those near the window are in the document: it stays as quick with a
// million as with ten, and nothing moves when pictures arrive. One tile can be reached by Tab, the others by arrows.

import { make } from "./dom.js";

const SPARE = 2; // rows of tiles kept above and below the window
const GAP = 10;
const TALLEST = 15_000_000; // pixels that browsers surely lay out

/**
 * A grid in `element`. `draw(i)` makes the tile of a place, `update(tile, i)` brings it up to date: it is called after
 * `draw`, too; `wanted(first, last, below)` tells which places are drawn, and the first place that is below the window.
 */
export class Grid {
  constructor(element, { draw, update, wanted }) {
    Object.assign(this, { element, draw, update, wanted });
    Object.assign(this, { count: 0, columns: 1, least: 150, below: 58, at: 0, lines: new Map(), farthest: -1 });
    this.body = element.appendChild(make("div", { class: "lines", role: "rowgroup" }));
    new ResizeObserver(() => this.#fit()).observe(element);
    addEventListener("scroll", () => this.#soon(), { passive: true });
    addEventListener("resize", () => this.#soon());
    element.addEventListener("focusin", (event) => {
      const tile = event.target.closest("[data-i]");
      if (tile) this.#activate(Number(tile.dataset.i));
    });
  }

  /** Have `count` tiles; those that are drawn are drawn anew unless they `stay`. */
  show(count, { stay = false } = {}) {
    const first = this.#most();
    const held = this.element.contains(document.activeElement);
    this.count = count;
    if (!stay) {
      this.#clear();
      this.farthest = -1;
      this.at = 0;
    }
    this.at = Math.max(0, Math.min(this.at, this.#most() - 1));
    this.#measure();
    if (stay && first % this.columns) this.#drop(Math.floor(first / this.columns)); // the last line wasn't full
    this.render();
    if (held && !this.element.contains(document.activeElement)) this.tile(this.at)?.focus({ preventScroll: true });
  }

  /** The size of tiles: the least width in pixels. */
  size(least) {
    this.least = least;
    this.#fit(true);
  }

  /** Bring all drawn tiles up to date. */
  refresh() {
    for (const line of this.lines.values()) for (const tile of line.children) this.#update(tile);
  }

  /** Draw places anew, such as those whose rows have come. */
  redraw(first, last) {
    for (const line of this.lines.values()) {
      for (const tile of [...line.children]) {
        const i = Number(tile.dataset.i);
        if (i < first || i > last) continue;
        const held = tile.contains(document.activeElement);
        const made = this.#tile(i);
        tile.replaceWith(made);
        if (held) made.focus({ preventScroll: true });
      }
    }
  }

  /** The tile of a place, if it is drawn. */
  tile(i) {
    return this.element.querySelector(`[data-i="${i}"]`);
  }

  /** Make a place the current one, bring it into sight, and focus it. */
  go(i, { focus = true } = {}) {
    if (!this.count) return;
    const to = Math.max(0, Math.min(i, this.#most() - 1));
    this.#activate(to);
    this.#reveal(to);
    this.render();
    if (focus) this.tile(to)?.focus({ preventScroll: true });
  }

  /** Take the focus, where it is: the page doesn't move. */
  take() {
    this.tile(this.at)?.focus({ preventScroll: true });
  }

  /** Move by a key: true where it is one of the grid's. */
  key(name) {
    const page = Math.max(1, Math.floor(this.#room().height / this.tall)) * this.columns;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page };
    if (name === "Home") {
      this.go(0);
      scrollTo(0, 0);
    }
    else if (name === "End") this.go(this.#most() - 1);
    else if (name in steps) {
      const to = this.at + steps[name];
      const inside = to >= 0 && to < this.#most();
      if (inside || name.startsWith("Page")) this.go(to);
      else if (name === "ArrowDown" && Math.floor(this.at / this.columns) < Math.floor((this.#most() - 1) / this.columns)) this.go(this.#most() - 1);
    } else return false;
    return true;
  }

  render() {
    if (!this.element.offsetParent || !this.count) return;
    const top = this.element.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / this.tall) - SPARE);
    const lowest = Math.floor((innerHeight - top) / this.tall); // line in sight
    const last = Math.min(this.total - 1, lowest + SPARE);
    const held = document.activeElement?.closest?.("[role=row]");
    for (const [i, line] of this.lines) if ((i < first || i > last) && line !== held) this.#drop(i);
    for (let i = first; i <= last; i += 1) if (!this.lines.has(i)) this.#line(i);
    const seen = Math.min(this.#most(), (last - SPARE + 1) * this.columns) - 1;
    this.farthest = Math.max(this.farthest, Math.min(seen, this.#most() - 1));
    if (!this.tile(this.at)) this.#activate(Math.min((first + SPARE) * this.columns, this.#most() - 1)); // Tab finds one in sight
    this.wanted(first * this.columns, Math.min((last + 1) * this.columns, this.#most()) - 1, (lowest + 1) * this.columns);
  }

  // --- inside

  /** Tiles that can be laid out. */
  #most() {
    return Math.min(this.count, Math.floor(TALLEST / (this.tall || 1)) * this.columns || this.count);
  }

  #measure() {
    const width = this.element.clientWidth || this.element.parentElement.clientWidth || 1;
    this.columns = Math.max(2, Math.floor((width + GAP) / (this.least + GAP)));
    this.wide = Math.floor((width - GAP * (this.columns - 1)) / this.columns);
    this.tall = this.wide + this.below + GAP;
    this.total = Math.ceil(this.#most() / this.columns);
    this.body.style.height = `${Math.max(0, this.total * this.tall - GAP)}px`;
    this.element.style.setProperty("--columns", this.columns);
    this.element.setAttribute("aria-rowcount", this.total);
    this.element.setAttribute("aria-colcount", this.columns);
  }

  #fit(again = false) {
    const before = [this.wide, this.columns].join();
    const held = this.element.contains(document.activeElement);
    this.#measure();
    if (before === [this.wide, this.columns].join() && !again) return;
    this.#clear();
    this.render();
    if (held) this.go(this.at);
  }

  #clear() {
    this.lines.clear();
    this.body.replaceChildren();
  }

  #drop(i) {
    this.lines.get(i)?.remove();
    this.lines.delete(i);
  }

  #line(i) {
    const end = Math.min((i + 1) * this.columns, this.#most());
    const line = make("div", { class: "line", role: "row", "aria-rowindex": i + 1 });
    for (let j = i * this.columns; j < end; j += 1) line.append(this.#tile(j));
    line.style.transform = `translateY(${i * this.tall}px)`;
    line.style.height = `${this.tall - GAP}px`;
    const after = [...this.lines.keys()].filter((other) => other > i).sort((a, b) => a - b)[0];
    this.body.insertBefore(line, after === undefined ? null : this.lines.get(after)); // in the order of reading
    this.lines.set(i, line);
  }

  #tile(i) {
    const tile = this.draw(i, this.wide);
    tile.dataset.i = i;
    tile.setAttribute("aria-colindex", (i % this.columns) + 1);
    this.#update(tile);
    return tile;
  }

  #update(tile) {
    const i = Number(tile.dataset.i);
    tile.tabIndex = i === this.at ? 0 : -1;
    this.update(tile, i);
  }

  #activate(i) {
    if (i !== this.at) {
      const old = this.tile(this.at);
      if (old) old.tabIndex = -1;
      this.at = i;
    }
    const tile = this.tile(i);
    if (tile) tile.tabIndex = 0;
  }

  /** The part of the window that neither the header nor the dock covers. */
  #room() {
    const top = Math.max(0, document.querySelector("body > header").getBoundingClientRect().bottom) + 6;
    const dock = document.querySelector(".dock:not([hidden])");
    const bottom = dock?.offsetParent ? dock.getBoundingClientRect().top - 6 : innerHeight - 6;
    return { top, bottom, height: Math.max(this.tall, bottom - top) };
  }

  #reveal(i) {
    const top = this.element.getBoundingClientRect().top + Math.floor(i / this.columns) * this.tall;
    const room = this.#room();
    if (top < room.top) scrollBy(0, top - room.top);
    else if (top + this.tall > room.bottom) scrollBy(0, Math.min(top + this.tall - room.bottom, top - room.top));
  }

  #soon() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.render();
    });
  }
}
