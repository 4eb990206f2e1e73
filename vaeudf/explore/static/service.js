/** Talking to the service. */

import { ServiceError } from "./latest.js";

async function checked(response) {
  if (response.ok) return response;
  let reason = `The service answered ${response.status}.`;
  try {
    reason = (await response.json()).error ?? reason;
  } catch {
    // Not JSON: the status has to do.
  }
  throw new ServiceError(reason, response.status);
}

async function request(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("The service does not answer. Is it still running?");
  }
  return checked(response);
}

const posted = (body, signal) => ({
  method: "POST",
  headers: { "Content-Type": "application/json" },
  body: JSON.stringify(body),
  signal,
});

export const getTable = async () => (await request("/api/table")).json();

export const getItem = async (id) =>
  (await request(`/api/item?${new URLSearchParams({ id })}`)).json();

export const search = async (question, signal) =>
  (await request("/api/search", posted(question, signal))).json();

/** One z as a picture; the model's id lets the browser keep it. */
export const decode = async (z, model, signal) =>
  (
    await request(`/api/decode?${new URLSearchParams({ z: z.join(","), model: model ?? "" })}`, {
      signal,
    })
  ).blob();

/** Several z as one picture, side by side. */
export const decodeRow = async (rows, signal) =>
  (await request("/api/decode", posted({ z: rows }, signal))).blob();

export const encode = async (file) =>
  (
    await request("/api/encode", {
      method: "POST",
      headers: { "Content-Type": file.type },
      body: file,
    })
  ).json();

const asked = (path, parameters) => request(`${path}?${new URLSearchParams(parameters)}`);

export const getMap = async (method) => (await asked("/api/map", { method })).json();

export const getMapPoints = async (method) =>
  new Uint16Array(await (await asked("/api/map/points", { method })).arrayBuffer());

export const getMapColours = async (method, column) =>
  (await asked("/api/map/colors", { method, column })).json();

export const getItemAt = async (method, x, y) =>
  (await asked("/api/map/at", { method, x, y })).json();

/** The same picture, large enough to be looked at. */
export const larger = (picture) => `${picture}&side=720`;

/** Where an item's picture is. */
export const pictureOf = (id) => `/api/picture?${new URLSearchParams({ id })}`;
