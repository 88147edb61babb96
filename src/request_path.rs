//! A URL path in two parts: what leads to the script, and what is the application's own
//! (`SCRIPT_NAME` and `PATH_INFO`).
#![forbid(unsafe_code)]

use std::borrow::Cow;

/// `SCRIPT_NAME` and `PATH_INFO`: the URL path parted where the file ended, without runs of slashes.
pub(crate) fn split_path<'a>(
    uri: &'a [u8],
    path_info: Option<&'a [u8]>,
) -> (Cow<'a, [u8]>, Cow<'a, [u8]>) {
    let (uri, path_info) = (collapse(uri), collapse(path_info.unwrap_or_default()));
    let length = script_name_length(&uri, &path_info);
    match uri {
        Cow::Borrowed(uri) => (Cow::Borrowed(uri.get(..length).unwrap_or(uri)), path_info),
        Cow::Owned(mut uri) => {
            uri.truncate(length);
            (Cow::Owned(uri), path_info)
        }
    }
}

/// How much of `uri` leads to the file (httpd: `ap_find_path_info`). It need not end with all of `path_info`:
/// the target of an alias may go on behind the script, and a URL may have been rewritten. What both end
/// with is the client's, and never part of a script's name.
fn script_name_length(uri: &[u8], path_info: &[u8]) -> usize {
    if path_info.is_empty() {
        return uri.len();
    }
    let pairs = uri.iter().rev().zip(path_info.iter().rev());
    let common = pairs.take_while(|(of_uri, of_file)| of_uri == of_file).count();
    let start = (uri.len() - common).saturating_sub(1);
    let slash = uri.iter().skip(start).position(|&byte| byte == b'/');
    slash.map_or(uri.len(), |slash| start + slash)
}

/// Runs of slashes made one.
fn collapse(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return Cow::Borrowed(path);
    }
    let mut collapsed = Vec::with_capacity(path.len());
    for &byte in path {
        if byte != b'/' || collapsed.last() != Some(&b'/') {
            collapsed.push(byte);
        }
    }
    Cow::Owned(collapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_path_is_parted_where_the_file_ended() {
        let table: [(&str, &str, &str, &str); 15] = [
            ("/app/a/b", "/a/b", "/app", "/a/b"),
            ("/a/b", "/a/b", "", "/a/b"),
            ("/app", "", "/app", ""),
            ("/app//a//b", "/a//b", "/app", "/a/b"),
            ("//app///a", "/a", "/app", "/a"),
            ("/", "/", "", "/"),
            ("/rewritten", "/other", "/rewritten", "/other"),
            ("/m", "/prefix", "/m", "/prefix"),
            ("/m/", "/prefix/", "/m", "/prefix/"),
            ("/m/a/b", "/prefix/a/b", "/m", "/prefix/a/b"),
            ("/m//a", "/prefix//a", "/m", "/prefix/a"),
            ("/mix/a", "/prefix/a", "/mix", "/prefix/a"),
            // Where the tails have a whole component in common, httpd takes it for the client's.
            ("/a/x/b", "/prefix/x/b", "/a", "/prefix/x/b"),
            ("/x/b", "/y/x/b", "", "/y/x/b"),
            ("/x/b", "/prefix/b", "", "/prefix/b"),
        ];
        for (uri, path_info, script_name, rest) in table {
            let (found, left) = split_path(uri.as_bytes(), Some(path_info.as_bytes()));
            assert_eq!((&*found, &*left), (script_name.as_bytes(), rest.as_bytes()), "{uri}");
        }
    }
}
