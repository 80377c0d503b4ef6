// Owns: the column for those who make tracks, in development only: uploads and jobs, joined.

import { Feed } from "./feed.js";
import { Jobs } from "./jobs.js";
import { Upload } from "./upload.js";

/** Add the column to the page. `onPlayable(job)` when a track is ready, `onOpen(trackId)` when one is asked for. */
export function openWorkshop({ maxBytes, onPlayable, onOpen }) {
  const column = document.getElementById("workshop-template").content.cloneNode(true).firstElementChild;
  const below = document.querySelector(".below");
  below.classList.add("has-workshop");
  below.append(column);

  const jobs = new Jobs(column.querySelector(".jobs"), { onPlayable, onOpen });
  new Upload(column, { maxBytes, onAccepted: (job) => jobs.show(job) });
  const feed = new Feed();
  const state = column.querySelector(".feed-state");
  feed.addEventListener("job", ({ detail }) => jobs.show(detail));
  feed.addEventListener("state", ({ detail: isConnected }) => {
    state.hidden = isConnected;
  });
  feed.open();
}
