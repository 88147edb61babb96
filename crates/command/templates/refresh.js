// Refreshes this page when mod_wsgi_rs has loaded a new version of the application. Pages that are not seen do not
// listen, because browsers open only six connections to a host.
(() => {
  if (window.__mod_wsgi_rs__) return;
  window.__mod_wsgi_rs__ = true;
  const key = "mod_wsgi_rs version";
  let known = null;
  let source = null;
  const listen = () => {
    if (source || document.hidden) return;
    source = new EventSource("/__mod_wsgi_rs__/events");
    source.addEventListener("version", (event) => {
      const [version, since] = event.data.split(" ");
      // The version may have come between this page and its script; once, in case the clocks differ.
      const missed = known === null && Number(since) > performance.timeOrigin
        && sessionStorage.getItem(key) !== version;
      if (missed || (known !== null && known !== version)) {
        sessionStorage.setItem(key, version);
        location.reload();
      }
      known = version;
    });
  };
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return listen();
    source?.close();
    source = null;
  });
  addEventListener("pagehide", () => source?.close());
  listen();
})();
