// Owns: the small player at the bottom edge, there while the large one is scrolled out of sight.

import { frame } from "./artwork.js";
import { showPlaying } from "./transport.js";

export class Dock {
  constructor(root, player, inSight) {
    this.root = root;
    this.player = player;
    const button = root.querySelector("button");
    const line = root.querySelector(".dock-line");
    button.addEventListener("click", () => player.toggle());
    player.addEventListener("state", () => showPlaying(button, player.playing));
    player.addEventListener("time", () => {
      if (root.hidden) return;
      line.style.transform = `scaleX(${player.duration ? player.position / player.duration : 0})`;
    });
    new IntersectionObserver(([{ isIntersecting }]) => {
      root.hidden = isIntersecting || !player.track;
    }).observe(inSight);
  }

  show(track) {
    frame(this.root.querySelector(".art"), track);
    const [title, artist] = this.root.querySelector(".dock-words").children;
    title.textContent = track.title || "Untitled";
    artist.textContent = track.artist || "Unknown artist";
  }
}
