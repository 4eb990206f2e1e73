/** The question on the page as a command line. */

import { byId } from "./elements.js";

const SHOWN_MILLISECONDS = 1600;

/** Copy an element's text; where the browser gives no clipboard, as over plain HTTP, by its selection. */
async function copyText(element) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  }
  getSelection().selectAllChildren(element);
  return document.execCommand("copy");
}

export class Command {
  constructor() {
    this.text = byId("command");
    const button = byId("copy");
    const usual = button.textContent;
    button.addEventListener("click", async () => {
      const copied = await copyText(this.text).catch(() => false);
      button.textContent = copied ? "Copied" : "Select the line below";
      setTimeout(() => (button.textContent = usual), SHOWN_MILLISECONDS);
    });
  }

  show(command) {
    this.text.textContent = command;
  }
}
