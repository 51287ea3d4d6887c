//! How many connections fit under the limit on open files.

use crate::config::Config;

/// Ports, connections of the API and of scrapers (72), shares, threads' own, and files that are being sent.
const OWN: u64 = 256;
/// A session's control link and its first data link. Files, and more links of it, take what others do not use.
const EACH_SESSION: u64 = 2;

/// Fewer HTTP connections than a browser or two and a download with many parts open are no service: whoever wants it is told
/// at once, instead of everybody who comes.
const GUESTS_MIN: u64 = 16;

/// What fits.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Places {
    /// HTTP connections that may be open; those beyond are told that all are taken.
    pub(super) guests: usize,
    /// For the operator, where less fits than is configured.
    pub(super) warning: Option<String>,
}

impl Places {
    /// What fits of `config` under a limit of `open_files`: sessions first, but at least half for HTTP where that is wanted.
    ///
    /// # Errors
    /// Words for the operator where HTTP is wanted and next to nothing fits.
    pub(super) fn under(open_files: u64, config: &Config) -> Result<Self, String> {
        let (sessions, guests) = (config.sessions.max as u64, config.http.connections_max as u64);
        let is_http = config.http.listen.is_some();
        let of_sessions = sessions.saturating_mul(EACH_SESSION);
        let of_guests = if is_http { guests } else { 0 };
        let needed = of_sessions.saturating_add(of_guests).saturating_add(OWN);
        if needed <= open_files {
            return Ok(Self { guests: config.http.connections_max, warning: None });
        }
        let left = open_files.saturating_sub(OWN);
        let fitting = of_guests.min(left.saturating_sub(of_sessions).max(left / 2));
        let least = of_guests.min(GUESTS_MIN);
        if fitting < least {
            // Half of what is left, or less where sessions leave more.
            let least_needed = OWN + least + least.min(of_sessions);
            return Err(format!(
                "the limit on open files is {open_files}, so {fitting} HTTP connections fit; with less than {least_needed} \
                 there is no serving over HTTP, and what is configured takes {needed} (http.connections_max = {guests}, \
                 sessions.max = {sessions}): raise the limit to that, with LimitNOFILE={needed} in a unit, ulimit -n {needed} \
                 in a shell, or leave out --http and http.listen"
            ));
        }
        let of_http = match is_http {
            true => format!("{fitting} HTTP connections of http.connections_max = {guests} and "),
            false => String::new(),
        };
        let fitting_sessions = sessions.min((left - fitting) / EACH_SESSION);
        let warning = format!(
            "the limit on open files is {open_files}, so {of_http}{fitting_sessions} sessions of sessions.max = {sessions} fit; \
             raise the limit to {needed} (LimitNOFILE= in a unit, ulimit -n in a shell), or lower what is configured"
        );
        Ok(Self {
            guests: if is_http { fitting as usize } else { config.http.connections_max },
            warning: Some(warning),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(sessions: usize, guests: Option<usize>) -> Config {
        let mut config = Config::default();
        config.sessions.max = sessions;
        config.http.listen = guests.map(|_| ([127, 0, 0, 1], 7480).into());
        config.http.connections_max = guests.unwrap_or(16_384);
        config
    }

    #[test]
    fn what_is_configured_is_kept_where_it_fits() {
        for (open_files, sessions, guests) in
            [(24_832, 4096, Some(16_384)), (65_536, 4096, Some(16_384)), (8448, 4096, None), (u64::MAX, 1, Some(1))]
        {
            let places = Places::under(open_files, &config(sessions, guests));
            assert_eq!(places, Ok(Places { guests: guests.unwrap_or(16_384), warning: None }), "{open_files}");
        }
    }

    #[test]
    fn where_it_does_not_fit_both_have_places_and_the_operator_is_told_how_many() {
        for (open_files, sessions, guests, fitting, fitting_sessions) in [
            (20_000, 4096, Some(16_384), 11_552, 4096),
            (4096, 4096, Some(16_384), 1920, 960),
            (1024, 4096, Some(16_384), 384, 192),
            (1024, 10, Some(16_384), 748, 10),
            (4096, 4096, None, 16_384, 1920),
            (288, 4096, Some(16_384), 16, 8),
            (100, 4096, None, 16_384, 0),
        ] {
            let places = Places::under(open_files, &config(sessions, guests)).unwrap();
            assert_eq!(places.guests, fitting, "{open_files}");
            let words = places.warning.unwrap_or_default();
            assert!(words.contains(&format!("{fitting_sessions} sessions of")), "{words}");
            assert_eq!(words.contains("HTTP"), guests.is_some(), "{words}");
        }
    }

    #[test]
    fn where_next_to_no_http_connection_fits_the_operator_is_told_what_is_needed() {
        for (open_files, sessions, guests, least_needed, needed) in [
            (287, 4096, Some(16_384), 288, 24_832),
            (256, 4096, Some(16_384), 288, 24_832),
            (0, 4096, Some(16_384), 288, 24_832),
            (256, 1, Some(16_384), 274, 16_642),
            (256, 4096, Some(3), 262, 8451),
        ] {
            let words = Places::under(open_files, &config(sessions, guests)).unwrap_err();
            assert!(words.contains(&format!("with less than {least_needed} there")), "{words}");
            assert!(words.contains(&format!("LimitNOFILE={needed} in a unit, ulimit -n {needed} in")), "{words}");
            // And it is true.
            assert!(Places::under(least_needed, &config(sessions, guests)).is_ok(), "{words}");
            assert!(Places::under(least_needed - 1, &config(sessions, guests)).is_err(), "{words}");
            assert_eq!(Places::under(needed, &config(sessions, guests)).unwrap().warning, None);
        }
    }
}
