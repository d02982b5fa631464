@phase11 @drill @chaos @storage
Feature: A part of the storage fails and no byte is lost
  Parts of the storage are made to fail one at a time, while a node that is spared writes through RBD and CephFS and
  keeps a ledger of what was acknowledged. Victims are drawn by the run's seed, are asked of Ceph, and are seen up
  before and down after. The next part is only broken once Ceph is whole again.

  Background:
    Given every server is installed as a node
    And every node's network is configured
    And the storage cluster is built and whole
    And a node that is spared keeps a ledger of its writes to RBD and CephFS

  @criterion-2
  Scenario: An OSD is killed
    When an OSD is killed and kept from starting
    Then Ceph takes it down within 2 minutes
    And client writes pause for no more than 30 seconds
    And it comes back and all data is whole within 10 minutes
    And every acknowledged write is read back
    And a deep scrub finds nothing damaged

  @criterion-2
  Scenario: The disk of an OSD vanishes from the bus
    When the disk of an OSD vanishes from the PCI bus
    Then Ceph takes it down within 2 minutes
    And client writes pause for no more than 30 seconds
    And it comes back and all data is whole within 10 minutes
    And every acknowledged write is read back
    And a deep scrub finds nothing damaged

  @hands
  Scenario: The disk of an OSD is pulled out of its bay
    When the disk of an OSD is pulled out of its bay
    Then Ceph takes it down within 2 minutes
    And client writes pause for no more than 30 seconds
    And it comes back and all data is whole within 10 minutes
    And every acknowledged write is read back
    And a deep scrub finds nothing damaged

  @criterion-2
  Scenario: An OSD is taken out and its data is placed elsewhere
    When an OSD is taken out
    Then its data is placed elsewhere within 10 minutes
    And client writes pause for no more than 30 seconds
    And it comes back and all data is whole within 10 minutes
    And every acknowledged write is read back
    And a deep scrub finds nothing damaged

  @patience
  Scenario: An OSD stays dead and Ceph takes it out by itself
    When an OSD is killed for longer than Ceph waits
    Then Ceph takes it down within 2 minutes
    And Ceph takes it out when the wait is over
    And its data is placed elsewhere within 10 minutes
    And client writes pause for no more than 30 seconds
    And it comes back and all data is whole within 10 minutes
    And every acknowledged write is read back

  @criterion-2
  Scenario: A monitor is killed
    When a monitor that does not lead is killed and kept from starting
    Then the monitors left have a quorum and a leader within 30 seconds
    And client writes pause for no more than 30 seconds
    And it comes back and all data is whole within 10 minutes
    And every acknowledged write is read back

  @criterion-2
  Scenario: The leading monitor is killed
    When the leading monitor is killed and kept from starting
    Then the monitors left have a quorum and a leader within 30 seconds
    And client writes pause for no more than 30 seconds
    And it comes back and all data is whole within 10 minutes
    And every acknowledged write is read back

  @criterion-2
  Scenario: The active manager is killed
    When the active manager is killed and kept from starting
    Then another manager is active within 1 minute
    And client writes pause for no more than 30 seconds
    And it comes back and all data is whole within 10 minutes
    And every acknowledged write is read back

  @criterion-2
  Scenario: The active metadata server is killed
    When the active metadata server is killed and kept from starting
    Then another metadata server is active within 1 minute
    And writes through CephFS pause for no more than 1 minute
    And it comes back and all data is whole within 10 minutes
    And every acknowledged write is read back

  @criterion-2
  Scenario: All OSDs of a node fail
    When all OSDs of a node are killed and kept from starting
    Then Ceph takes them down within 2 minutes
    And client writes pause for no more than 30 seconds
    And they come back and all data is whole within 10 minutes
    And every acknowledged write is read back
    And a deep scrub finds nothing damaged

  @criterion-2
  Scenario: Pools are left with as few copies as they accept
    When one node's OSDs fail and every pool is left with its least number of copies
    Then no data is out of reach
    And writes are still acknowledged
    And a failure of one more OSD on another node is refused
    And they come back and all data is whole within 10 minutes
    And every acknowledged write is read back
    And a deep scrub finds nothing damaged

  @criterion-2
  Scenario: A disk is slow and does not fail
    When the disk of an OSD becomes slow
    Then it is seen to be slow
    And no OSD goes down
    And client writes pause for no more than 30 seconds
    And it is as fast as before and all data is whole within 10 minutes
    And every acknowledged write is read back
