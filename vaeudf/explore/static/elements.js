/** Making elements. */

/**
 * Make an element; a key that starts with "on" is a listener, true an attribute without a value.
 * @param {string} name
 * @param {Record<string, unknown>} attributes null and false are left out
 * @param {...(Node|string)} children
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

/** A line below a field that says what it is for; it is the field's description, too. */
export function hintFor(input, id, text = "") {
  input.setAttribute("aria-describedby", id);
  return el("small", { id }, text);
}

export const byId = (id) => document.getElementById(id);

/** An icon of the sprite in index.html. */
export function icon(name) {
  const namespace = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(namespace, "svg");
  const use = document.createElementNS(namespace, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** A button that stays pressed. */
export function toggle(label, content, onclick, attributes = {}) {
  return el(
    "button",
    {
      type: "button",
      "aria-pressed": "false",
      "aria-label": label,
      title: label,
      onclick,
      ...attributes,
    },
    content,
  );
}

export const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));

/** Set the value of an input, unless somebody is typing in it. */
export function fill(input, value) {
  const text = String(value ?? "");
  if (document.activeElement !== input && input.value !== text) input.value = text;
}

/** An input's number, or null where there is none. */
export function numberIn(input) {
  return input.value.trim() === "" || Number.isNaN(input.valueAsNumber)
    ? null
    : input.valueAsNumber;
}
