//! Names in URLs: from a request's target to a path of a share, and back.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{authority::is_authority, terms::QUERY};

/// Everything but RFC 3986's unreserved letters is written as `%XX`, so that a name can never be taken for a scheme, a query or
/// markup.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The words for what has no form of a target.
const FORM: &str = "the target is neither /SHARE/PATH nor http://HOST/SHARE/PATH";

/// What a request asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Target {
    /// `SHARE/PATH` without slashes around it; empty for the shares themselves. Not `.` or `..`, no empty names.
    pub(super) path: String,
    /// It ended with a slash: a directory is wanted.
    pub(super) is_directory: bool,
    /// `?format=json`: a listing for programs.
    pub(super) json: bool,
    /// `?ek=...`: terms that say how the request is to be treated, as they were written. Said twice they are none that
    /// anybody signed, so they are put together.
    pub(super) terms: Option<String>,
}

impl Target {
    /// Reads a target in origin form (`/a/b?c`) or absolute form (`http://host/a/b?c`).
    ///
    /// # Errors
    /// For other forms, and for paths that name nothing a share can hold: what is wrong, for a person.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let path = match text.strip_prefix('/') {
            Some(path) => path,
            // Every server takes what a client would send to a proxy (RFC 9112, 3.2.2).
            None => {
                let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
                let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
                let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                if !is_http || !is_authority(authority) || rest.contains('#') {
                    return Err(FORM);
                }
                rest.strip_prefix('/').unwrap_or(rest)
            }
        };
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let is_directory = path.is_empty() || path.ends_with('/');
        let names: Vec<String> = match path {
            "" => Vec::new(),
            path => {
                let names: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
                // rclone writes `./a:b`, so that `a` is not taken for a scheme (RFC 3986, 4.2).
                let is_guard = |at: usize| names[at] == "." && names.get(at + 1).is_some_and(|next| next.contains(':'));
                (0..names.len()).filter(|at| !is_guard(*at)).map(|at| name(names[at])).collect::<Result<_, _>>()?
            }
        };
        let json = query.split('&').any(|part| part == "format=json");
        let terms: Vec<&str> = query.split('&').filter_map(terms_of).collect();
        let terms = (!terms.is_empty()).then(|| terms.join("&"));
        Ok(Self { path: names.join("/"), is_directory, json, terms })
    }

    /// The share's name; empty for the shares themselves.
    pub(super) fn share(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    /// The target as a directory, for `Location`.
    pub(super) fn with_slash(&self) -> String {
        Self { is_directory: true, ..self.clone() }.written()
    }

    /// The target in origin form. Written anew from the names, so that it leads to this server.
    pub(super) fn written(&self) -> String {
        let names: String = self.path.split('/').map(|name| format!("/{}", written(name))).collect();
        let slash = if self.is_directory && !self.path.is_empty() { "/" } else { "" };
        let mut query = Vec::new();
        query.extend(self.json.then(|| "format=json".to_owned()));
        query.extend(self.terms.as_ref().map(|terms| format!("{QUERY}={}", written(terms))));
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{names}{slash}{mark}{}", query.join("&"))
    }
}

/// The terms in one part of a query; also `ek` without a value carries some, bad ones. However its name is written, it is that name.
fn terms_of(part: &str) -> Option<&str> {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    percent_decode_str(name).eq(QUERY.bytes()).then_some(value)
}

/// One name of a path, decoded. An encoded slash would make two names of it.
fn name(text: &str) -> Result<String, &'static str> {
    let is_code = |rest: &str| rest.as_bytes().get(..2).is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(is_code) {
        return Err("a % in the target has no two hexadecimal digits behind it: %25 is the letter itself");
    }
    let name = percent_decode_str(text).decode_utf8().map_err(|_| "a name in the target is not UTF-8")?;
    match &*name {
        "" => Err("the target has a name without letters: two slashes in a row"),
        "." | ".." => Err("the target has . or .. for a name"),
        name if name.contains(['/', '\0']) => Err("a name in the target has a slash (%2F) or a zero byte (%00) in it"),
        name => Ok(name.to_owned()),
    }
}

/// A name as a URL has it.
pub(super) fn written(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_of_targets() {
        for (text, path, is_directory, json) in [
            ("/", "", true, false),
            ("/?format=json", "", true, true),
            ("/share", "share", false, false),
            ("/share/", "share", true, false),
            ("/share/a%20b/%C3%BC+x", "share/a b/ü+x", false, false),
            ("/share/a?x=1&format=json", "share/a", false, true),
            ("/share/a?format=jsonx", "share/a", false, false),
            ("http://h:80/share/a", "share/a", false, false),
            ("HTTPS://h", "", true, false),
            ("http://h/", "", true, false),
            ("http://h?a/share/ten", "", true, false),
            ("http://[::1]:80?format=json", "", true, true),
            ("/...", "...", false, false),
            ("/share/./a:b", "share/a:b", false, false),
            ("/share/a?eka=1&xek=2&EK=3", "share/a", false, false),
        ] {
            let expected = Target { path: path.to_owned(), is_directory, json, terms: None };
            assert_eq!(Target::parse(text), Ok(expected), "{text}");
        }
        for text in [
            "",
            "*",
            "h:443",
            "share",
            "//",
            "//evil.example/",
            "/a//b",
            "/a/./b",
            "/a/%2e/b",
            "/./",
            "/a:b/.",
            "/a/../b",
            "/..",
            "/a/%2e%2e/b",
            "/a%2Fb",
            "/a%00b",
            "/%ff",
            "ftp://h/a",
            "http:///a",
            "http://",
            "http://?a",
            "http://h#/a",
            "http://h/a#b",
            "http://h/#",
            "http://a@b/a",
            "http://a:b@c/a",
            "http://h:x/a",
        ] {
            assert!(Target::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_words_say_what_is_wrong() {
        for (text, word) in [
            ("*", "neither"),
            ("ftp://h/a", "neither"),
            ("/share/a//b", "two slashes"),
            ("/share/%2e%2E/b", ". or .."),
            ("/share/a%2Fb", "%2F"),
            ("/share/%ff", "UTF-8"),
            ("/share/100%", "%25"),
            ("/share/%zz", "%25"),
            ("/share/%4", "%25"),
            ("/share/%+1", "%25"),
            ("/share/%é", "%25"),
        ] {
            let words = Target::parse(text).unwrap_err();
            assert!(words.contains(word), "{text}: {words}");
        }
    }

    #[test]
    fn terms_are_never_overlooked() {
        for (text, terms) in [
            ("/a?ek=x-1_y", "x-1_y"),
            ("/a?format=json&ek=x", "x"),
            ("/a?ek=x&ek=y", "x&y"),
            ("/a?%65k=x", "x"),
            ("/a?e%6B=x&%65%6b=y", "x&y"),
            ("/a?ek", ""),
            ("/a?e%6b", ""),
            ("/a?ek=", ""),
        ] {
            assert_eq!(Target::parse(text).unwrap().terms.as_deref(), Some(terms), "{text}");
        }
        let signed = Target::parse("/share/dir?format=json&ek=until-1_ab").unwrap();
        assert_eq!(signed.with_slash(), "/share/dir/?format=json&ek=until-1_ab");
    }

    #[test]
    fn a_location_leads_here_and_back_to_itself() {
        for text in ["/share", "/share/a%20b%22%3C", "/share/%3Ax?format=json", "/share/%C3%BC"] {
            let target = Target::parse(text).unwrap();
            let again = Target::parse(&target.with_slash()).unwrap();
            assert!(again.is_directory && !target.with_slash().starts_with("//"));
            assert_eq!((again.path, again.json), (target.path, target.json));
        }
        assert_eq!(written("a:b?c#d/é"), "a%3Ab%3Fc%23d%2F%C3%A9");
    }

    proptest::proptest! {
        #[test]
        fn what_is_read_has_plain_names(text in "[/.%0-9a-fA-F?]{0,24}") {
            if let Ok(target) = Target::parse(&text) {
                let plain = target.path.is_empty()
                    || target.path.split('/').all(|name| !matches!(name, "" | "." | "..") && !name.contains('\0'));
                proptest::prop_assert!(plain, "{}", target.path);
            }
        }
    }
}
