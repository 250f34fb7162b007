// Shows each event of the server, which is the whole state of the page: after a
// break nothing is missing.
"use strict";
(() => {
  const silence = 15000; // ms without an event after which the connection counts as lost
  const connection = document.getElementById("connection");
  const bar = document.getElementById("bar");
  const shown = new Map(); // id: what is in the element
  let source, heard;

  const say = (text) => {
    if (connection.textContent !== text) connection.textContent = text; // said aloud once
    document.body.classList.toggle("lost", text !== "");
  };

  const show = (state) => {
    document.title = state.title;
    bar.max = state.slots;
    bar.value = state.granted;
    bar.setAttribute("aria-valuetext", state.said);
    for (const [id, html] of Object.entries(state.parts)) {
      if (shown.get(id) !== html) document.getElementById(id).innerHTML = html; // the server escaped it
      shown.set(id, html);
    }
  };

  const connect = () => {
    if (source) source.close();
    heard = Date.now();
    source = new EventSource("events");
    source.onmessage = (event) => {
      heard = Date.now();
      show(JSON.parse(event.data));
      say("");
    };
    source.onerror = () => say("Connection lost. What is shown is not current. Trying again.");
  };

  // A browser tries again by itself, but not after an answer that is no stream of
  // events, nor when the network swallows everything.
  setInterval(() => {
    if (source.readyState !== EventSource.CLOSED && Date.now() - heard < silence) return;
    say("Connection lost. What is shown is not current. Trying again.");
    connect();
  }, 2000);

  connect();
})();
