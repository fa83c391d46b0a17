//! Proper names, of which no two splits share any.

use candor_schema::Split;

use crate::draw::Draw;

const FIRST: &str = "\
    Ada Bruno Carys Dario Edda Farid Greta Hamid Ines Jonas Keiko Lazar Mirela Nadim Odile Piotr \
    Quilla Rafael Sunniva Tomas Ursel Viggo Wanda Xenia Yusuf Zofia Amadou Birgit Celio Dunja";

const LAST: &str = "\
    Abara Brandt Calloway Demir Eklund Farkas Galindo Hollis Iversen Jansky Kowal Lindqvist \
    Marchetti Novak Okoye Paredes Quist Rosales Sandoval Tanaka Ulbrich Varga Whitlock Ximenes \
    Yilmaz Zoric Aldana Bergmann Castellan Dahl Esposito Fenwick Grigorian Hauser Imre Jurado \
    Katz Lefevre Moreau Nakata Osei Petrov Quiroga Rasmus Salonen Thorne Uzun Vidal Wren Yoder \
    Zeman Arnaud Bhatt Costa Drummond Ellery Fontaine Gustavson Horvat Ito";

const PLACE_FRONT: &str = "\
    North Upper Old Amber Basalt Cedar Drift Ember Flint Granite Heron Iron Juniper Larch Marble \
    Otter Pine Raven Salt Tarn";

const PLACE_BACK: &str = "\
    Harbour Quay Ridge Station Hollow Works Depot Point Yard Bridge Basin Field Mill Pass Locks \
    Bay Gate Tower Crossing Landing Terrace Sound Court Bend Shore Wharf Summit Vale Reach Grove";

const CODE: &str = "\
    Abacus Bellows Cobalt Dynamo Echo Fathom Gimbal Halyard Inkwell Jigsaw Kestrel Lantern \
    Mosaic Nimbus Oriole Pylon Quartz Rudder Sextant Tundra Umber Vellum Wicket Xylem Yarrow \
    Zephyr Anvil Bobbin Cinder Dovetail Easel Ferrule Garnet Hinge Isobar Jetty Kiln Lattice \
    Mortar Needle Obelisk Plumb Quiver Ratchet Spindle Trellis Urchin Vernier Warble Yonder \
    Zinnia Aster Bracken Clover Dahlia Elm Fennel Gorse Hazel Ivy Jasper Kelp Lichen Moss Nettle \
    Onyx Poppy Quince Rowan Sorrel Thistle Ulex Vetch Willow Yew Zircon Almanac Barometer \
    Compass Decanter Envelope Filament Goblet Hourglass Iris Jubilee Keystone Lodestar Meridian \
    Nocturne";

/// The split that a place on the list belongs to: five of ten train, two validate, three test.
pub(crate) fn split_of(index: usize) -> Split {
    match index % 10 {
        0..5 => Split::Train,
        5..7 => Split::Validation,
        _ => Split::Test,
    }
}

/// Gives out names of one split, none of them twice.
#[derive(Debug)]
pub(crate) struct Names {
    draw: Draw,
    firsts: Vec<&'static str>,
    lasts: Vec<&'static str>,
    fronts: Vec<&'static str>,
    backs: Vec<&'static str>,
    codes: Vec<&'static str>,
    given: Vec<String>,
}

impl Names {
    /// The names of a seed, from those of its split.
    pub(crate) fn new(seed: u64, split: Split) -> Self {
        let mut draw = Draw::new(seed, "names");
        let mut own = |all: &'static str, split: Option<Split>| -> Vec<&'static str> {
            let all = all.split_whitespace().enumerate();
            let own = all.filter(|(index, _)| split.is_none_or(|split| split_of(*index) == split));
            let mut own: Vec<&'static str> = own.map(|(_, name)| name).collect();
            draw.shuffle(&mut own);
            own
        };
        // The second half of a name is the split's own, so that the whole is.
        let (firsts, fronts) = (own(FIRST, None), own(PLACE_FRONT, None));
        let lasts = own(LAST, Some(split));
        let backs = own(PLACE_BACK, Some(split));
        let codes = own(CODE, Some(split));
        Self {
            draw,
            firsts,
            lasts,
            fronts,
            backs,
            codes,
            given: Vec::new(),
        }
    }

    /// A person's first and last name.
    pub(crate) fn person(&mut self) -> String {
        let name = format!("{} {}", next(&mut self.firsts), next(&mut self.lasts));
        self.note(name)
    }

    /// A place of two words.
    pub(crate) fn place(&mut self) -> String {
        let name = format!("{} {}", next(&mut self.fronts), next(&mut self.backs));
        self.note(name)
    }

    /// A name for an agent, an account or a system, of one word.
    pub(crate) fn code(&mut self) -> String {
        let name = next(&mut self.codes).to_owned();
        self.note(name)
    }

    /// A machine: a name in lower case and a number.
    pub(crate) fn machine(&mut self) -> String {
        let number = self.draw.whole(2..=98);
        let name = format!("{}-{number}", next(&mut self.codes).to_lowercase());
        self.note(name)
    }

    /// Every name given out so far, in order.
    pub(crate) fn given(&self) -> &[String] {
        &self.given
    }

    fn note(&mut self, name: String) -> String {
        self.given.push(name.clone());
        name
    }
}

/// The next name; the last one again once all are given. No situation needs as many.
fn next(names: &mut Vec<&'static str>) -> &'static str {
    match names[..] {
        [] => "Nobody",
        [last] => last,
        _ => names.swap_remove(0),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn many(seeds: std::ops::Range<u64>, split: Split) -> BTreeSet<String> {
        let all = seeds.flat_map(|seed| {
            let mut names = Names::new(seed, split);
            for _ in 0..8 {
                names.person();
                names.code();
            }
            for _ in 0..3 {
                names.place();
                names.machine();
            }
            names.given().to_vec()
        });
        all.map(|name| name.to_lowercase()).collect()
    }

    #[test]
    fn no_name_is_in_two_splits() {
        let train = many(0..200, Split::Train);
        let validation = many(0..200, Split::Validation);
        let test = many(0..200, Split::Test);
        assert!(train.is_disjoint(&validation));
        assert!(train.is_disjoint(&test));
        assert!(validation.is_disjoint(&test));
        assert!(train.len() > 500, "{}", train.len());
    }

    #[test]
    fn an_episode_has_no_name_twice() {
        for seed in 0..200 {
            for split in [Split::Train, Split::Validation, Split::Test] {
                let mut names = Names::new(seed, split);
                for _ in 0..6 {
                    names.person();
                    names.code();
                    names.machine();
                }
                let distinct: BTreeSet<&String> = names.given().iter().collect();
                assert_eq!(distinct.len(), names.given().len(), "seed {seed}");
            }
        }
    }

    #[test]
    fn lists_hold_no_name_twice() {
        for list in [FIRST, LAST, PLACE_FRONT, PLACE_BACK, CODE] {
            let distinct: BTreeSet<&str> = list.split_whitespace().collect();
            assert_eq!(distinct.len(), list.split_whitespace().count());
        }
    }
}
