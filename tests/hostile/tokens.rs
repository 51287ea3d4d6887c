//! Data links that have no business here: unknown, used, stolen and guessed tokens.

use wire::Token;

use crate::{
    foe::{Foe, PATIENCE, get},
    stage::{Counts, Neighbour, node, serves_on},
};

#[test]
fn a_data_link_needs_a_token_of_its_own_and_only_once() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let (foe, other) = (Foe::stranger(&server), Foe::stranger(&server));
    let mut control = foe.session();
    let welcome = control.welcome.clone();
    let tokens = welcome.parsed_tokens().unwrap();
    assert_eq!(tokens.len(), 2);

    // Unknown.
    counts.refused("token", 1, || {
        let mut link = foe.data_with(Token::from_bytes([7; 32]), &welcome).unwrap();
        assert!(link.is_closed_within(PATIENCE));
    });
    // Not the magic where the token should be.
    counts.refused("magic", 1, || {
        let mut link = foe.data_silent(&welcome).unwrap();
        std::io::Write::write_all(&mut link.line, &[0; 40]).unwrap();
        assert!(link.is_closed_within(PATIENCE));
    });
    // Good, and then used up: the first link stays.
    let mut link = foe.data(&welcome, 0);
    control.say(&get(1, "share/small", 1000));
    assert_eq!(link.receive().map(|(header, _)| header.transfer), Some(1));
    counts.refused("token", 1, || {
        assert!(foe.data(&welcome, 0).is_closed_within(PATIENCE));
    });
    // Another peer's.
    counts.refused("token", 1, || {
        assert!(other.data_with(tokens[1], &welcome).unwrap().is_closed_within(PATIENCE));
    });
    // None of this touched the session.
    control.ping();
    control.say(&wire::Message::Window(wire::Window { transfer: 1, limit: 2000 }));
    assert_eq!(link.receive().map(|(header, _)| header.offset), Some(1000));
    // A session's tokens end with it.
    let mut brief = other.session();
    let welcome = brief.welcome.clone();
    brief.say(&wire::Message::Goodbye(wire::Goodbye::new(wire::GoodbyeCode::Done, "")));
    brief.expect_end();
    // That is no refusal: a link that was under way when its peer said goodbye comes so.
    let before = counts.refusals("token");
    assert!(other.data(&welcome, 0).is_closed_within(PATIENCE));
    assert_eq!(counts.refusals("token"), before, "refusals for a token of a session that ended well");
    serves_on(&server);
    neighbour.was_undisturbed();
}

#[test]
fn guessing_tokens_leads_nowhere_and_is_counted() {
    let server = node("");
    let counts = Counts::of(&server);
    let neighbour = Neighbour::getting(&server);
    let victim = Foe::stranger(&server);
    let mut control = victim.session();
    let foe = Foe::stranger(&server);
    counts.refused("token", 100, || {
        for guess in 0..100_u8 {
            let mut bytes = *control.welcome.parsed_tokens().unwrap()[0].as_bytes();
            bytes[31] ^= guess + 1;
            assert!(foe.data_with(Token::from_bytes(bytes), &control.welcome).unwrap().is_closed_within(PATIENCE));
        }
    });
    // What was guessed at is still good.
    let mut link = victim.data(&control.welcome, 0);
    control.say(&get(1, "share/small", 1000));
    assert!(link.receive().is_some());
    serves_on(&server);
    neighbour.was_undisturbed();
}
