//! The HTTP front, with the tools that people have and with shapes that no tool would send.

#[path = "support/mod.rs"]
mod support;

#[path = "http/browser.rs"]
mod browser;
#[path = "http/bulk.rs"]
mod bulk;
#[path = "http/cold.rs"]
mod cold;
#[path = "http/crowd.rs"]
mod crowd;
#[path = "http/files.rs"]
mod files;
#[path = "http/gone.rs"]
mod gone;
#[path = "http/groups.rs"]
mod groups;
#[path = "http/hostile.rs"]
mod hostile;
#[path = "http/modes.rs"]
mod modes;
#[path = "http/places.rs"]
mod places;
#[path = "http/shares.rs"]
mod shares;
#[path = "http/stage.rs"]
mod stage;
#[path = "http/terms.rs"]
mod terms;
#[path = "http/tls.rs"]
mod tls;
#[path = "http/unreadable.rs"]
mod unreadable;
#[path = "http/walkers.rs"]
mod walkers;
