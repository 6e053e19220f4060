use super::*;

#[test]
fn a_reply_behind_its_sync_is_covered() {
    let trace = "11 write(5</d/log/1>, \"..mark-000001..\", 90) = 90\n\
                 12 fdatasync(5</d/log/1> <unfinished ...>\n\
                 12 <... fdatasync resumed>) = 0\n\
                 13 sendto(9<TCP:[127.0.0.1:5->127.0.0.1:6]>, \"mark-000001\", 20, 0, NULL, 0) = 20\n";
    assert_eq!(judge(trace), Findings { covered: 1, syncs: 1, violations: vec![] });
}

#[test]
fn a_reply_in_front_of_its_sync_is_found() {
    let missing = "11 pwrite64(5</d/log/1>, \"mark-000001\", 90, 0) = 90\n13 write(9<TCP:[1]>, \"mark-000001\", 20) = 20\n";
    assert_eq!(judge(missing).violations.len(), 1);
    let running = "11 write(5</d/log/1>, \"mark-000001\", 90) = 90\n12 fdatasync(5</d/log/1> <unfinished ...>\n\
                   13 write(9<TCP:[1]>, \"mark-000001\", 20) = 20\n12 <... fdatasync resumed>) = 0\n";
    assert_eq!(judge(running).violations.len(), 1);
}

#[test]
fn a_sync_that_began_before_the_write_ended_does_not_cover_it() {
    let trace = "12 fdatasync(5</d/log/1> <unfinished ...>\n11 write(5</d/log/1>, \"mark-000001\", 90) = 90\n\
                 12 <... fdatasync resumed>) = 0\n13 write(9<TCP:[1]>, \"mark-000001\", 20) = 20\n";
    assert_eq!(judge(trace).violations.len(), 1);
    let other_file = "11 write(5</d/log/1>, \"mark-000001\", 90) = 90\n12 fdatasync(6</d/other>) = 0\n\
                      13 write(9<TCP:[1]>, \"mark-000001\", 20) = 20\n";
    assert_eq!(judge(other_file).violations.len(), 1);
    assert_eq!(judge("13 write(9<TCP:[1]>, \"mark-000001\", 20) = 20\n").violations.len(), 1);
}
