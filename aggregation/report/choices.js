// What the reader chose: axis, centre, band, smoothing, and the labels that are hidden. Charts listen.

export class Choices {
  constructor(values) {
    this.values = values;
    this.hidden = new Set();
    this.listeners = [];
  }

  get(name) {
    return this.values[name];
  }

  set(name, value) {
    this.values[name] = value;
    this.tell();
  }

  isShown(label) {
    return !this.hidden.has(label);
  }

  toggle(label) {
    if (!this.hidden.delete(label)) this.hidden.add(label);
    this.tell();
  }

  hide(labels) {
    this.hidden = new Set(labels);
    this.tell();
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  tell() {
    for (const listener of this.listeners) listener();
  }
}
